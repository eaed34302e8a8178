from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from echozoo.datasets.hmc_qu import FILMS, MASKS, SHEET, HMCQUDataset, patient_of
from echozoo.errors import DataError
from echozoo.phantom import PhantomOptions, write_phantom
from echozoo.phantom.patients import film_patient

pytest.importorskip("av", reason="the extra video is not installed")
openpyxl = pytest.importorskip("openpyxl", reason="the extra hmc_qu is not installed")
OPTIONS = PhantomOptions(patients=5, spacing=2.0, frames=(4, 5), layout="hmc_qu")
PIPELINE = [dict(type="LoadClip"), dict(type="PackClip")]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hmc_qu") / "data"
    write_phantom(root, OPTIONS)
    return root


def data_of(root: Path, subset: str, **options) -> HMCQUDataset:
    options = dict(test_mode=True, clip_length=None, pipeline=PIPELINE) | options
    return HMCQUDataset(str(root), subset=subset, **options)


def test_the_wall_of_one_cycle_is_labelled_and_patients_are_not_split(written: Path):
    recordings: dict[str, set] = {}
    for subset in ("train", "val", "test"):
        for film in data_of(written, subset).films():
            recordings.setdefault(film.patient, set()).add(subset)
            true = film_patient(int(film.patient[-4:]), OPTIONS, "4CH").labels == 2
            last, take = len(true) - 1, int(film.sequence[-1])
            if film.patient == "patient0005":
                assert film.labelled == ()
                continue
            # Frames count from 0; `take` of them come before the cycle, one after it.
            assert film.labelled == tuple(range(take, take + 2 * last + 1))
            assert len(film) == take + 2 * last + 2
            clip = data_of(written, subset)
            samples = [one["data_samples"] for one in clip]
            sample = next(one for one in samples if one.sequence == film.sequence)
            found = sample.native_labels[take : take + last + 1] == 1
            same = (found.numpy() == true).mean()
            assert same > 0.97, "but for the coarser grid of the masks"
    assert len(recordings) == 5
    assert all(len(subsets) == 1 for subsets in recordings.values())


@pytest.mark.parametrize("name", ["ES0001_4CH_1", "ES0001 4CH 2", "ES0001"])
def test_a_patient_is_what_comes_before_a_blank(name):
    assert patient_of(name) == "ES0001"


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (b"no masks", "cannot be read as a .mat file"),
        ({"other": np.zeros((3, 4, 4))}, "no variable 'predicted'"),
        ({"predicted": np.zeros((3, 4, 4))}, r"masks of shape \(3, 4, 4\), wanted"),
        (None, "cannot be read as a .mat file"),
    ],
)
def test_a_film_with_bad_masks_is_left_out_in_one_line(written: Path, tmp_path, masks, message):
    for part in (SHEET, FILMS.parent, MASKS):
        if part != MASKS:
            (tmp_path / part).symlink_to(written / part)
    (tmp_path / MASKS).mkdir()
    subset, film = next(
        (subset, films[0])
        for subset in ("train", "val", "test")
        if (films := [f for f in data_of(written, subset).films() if f.labelled])
    )
    for path in (written / MASKS).iterdir():
        (tmp_path / MASKS / path.name).symlink_to(path)
    bad = tmp_path / MASKS / f"Mask_{film.sequence}.mat"
    bad.unlink()
    if isinstance(masks, bytes):
        bad.write_bytes(masks)
    elif masks is not None:
        savemat(bad, masks)
    data = data_of(tmp_path, subset, lazy_init=True)
    assert film.sequence not in {one.sequence for one in data.films()}
    (problem,) = data.problems
    assert str(bad) in problem
    assert "\n" not in problem
    assert re.search(message, problem)


def test_a_cycle_beyond_the_film_and_a_sheet_without_columns_are_refused(written: Path, tmp_path):
    for part in (FILMS.parent, MASKS):
        (tmp_path / part).symlink_to(written / part)
    book = openpyxl.load_workbook(written / SHEET)
    book.active["C2"] = 99
    book.save(tmp_path / SHEET)
    problems = []
    for subset in ("train", "val", "test"):
        data = data_of(tmp_path, subset, lazy_init=True)
        data.films()
        problems += data.problems
    (problem,) = problems
    assert "cycle from 2 to 99, wanted frames from 1 to" in problem
    book.active["B1"] = "First"
    book.save(tmp_path / SHEET)
    with pytest.raises(DataError, match="no column 'Reference Frame'"):
        data_of(tmp_path, "train")
    (tmp_path / SHEET).write_text("a,b")
    with pytest.raises(DataError, match="cannot be read as a sheet"):
        data_of(tmp_path, "train")
