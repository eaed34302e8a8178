"""Generated patients on disk."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from echozoo.datasets.info import read_info
from echozoo.errors import ConfigError, DataError, StorageError
from echozoo.films.io import read_volume, write_volume
from echozoo.phantom import PhantomOptions, camus, write_phantom
from echozoo.phantom.patients import VIEWS, draw_patient, split_patients

OPTIONS = PhantomOptions(patients=4, seed=0, spacing=1.5, frames=(3, 5))


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / "data"
    assert write_phantom(root, OPTIONS) == 4
    return root


def test_layout_is_that_of_camus(phantom: Path) -> None:
    folder = phantom / "database_nifti" / "patient0002"
    stems = ("ED", "ED_gt", "ES", "ES_gt", "half_sequence", "half_sequence_gt")
    wanted = {f"patient0002_{view}_{stem}.nii.gz" for view in VIEWS for stem in stems}
    assert {p.name for p in folder.iterdir()} == wanted | {f"Info_{view}.cfg" for view in VIEWS}
    assert len(list((phantom / "database_nifti").iterdir())) == 4
    assert not (phantom / ".partial").exists()
    assert "No patient" in json.loads((phantom / "phantom.json").read_text())["note"]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("view", VIEWS)
def test_files_of_a_view_agree(phantom: Path, number: int, view: str) -> None:
    name = f"patient{number:04d}"
    folder = phantom / "database_nifti" / name
    info = read_info(folder / f"Info_{view}.cfg")
    images = read_volume(folder / f"{name}_{view}_half_sequence.nii.gz")
    labels = read_volume(folder / f"{name}_{view}_half_sequence_gt.nii.gz", label=True)
    assert images.array.shape == labels.array.shape
    assert images.spacing == pytest.approx((1.5, 1.5))
    assert info.num_frames == len(images.array)
    assert {info.ed, info.es} == {0, info.num_frames - 1}
    assert (info.ed > info.es) == (number == 3), "patient 3 of seed 0 is filmed from ES to ED"
    for instant, at in (("ED", info.ed), ("ES", info.es)):
        one = read_volume(folder / f"{name}_{view}_{instant}.nii.gz")
        mask = read_volume(folder / f"{name}_{view}_{instant}_gt.nii.gz", label=True)
        np.testing.assert_array_equal(one.array[0], images.array[at])
        np.testing.assert_array_equal(mask.array[0], labels.array[at])
    areas = (labels.array == 1).sum((1, 2))
    assert areas.argmax() == info.ed
    assert areas.argmin() == info.es
    assert info.ef == pytest.approx(100 * (info.edv - info.esv) / info.edv, abs=0.7)
    assert info.quality in ("Good", "Medium", "Poor")
    assert info.frame_rate > 0


def test_split_files_hold_each_patient_once(phantom: Path) -> None:
    listed = {}
    for subset in ("training", "validation", "testing"):
        path = phantom / "database_split" / f"subgroup_{subset}.txt"
        listed[subset] = path.read_text().split()
        assert listed[subset]
    assert sorted(sum(listed.values(), [])) == [f"patient{k:04d}" for k in range(1, 5)]


@pytest.mark.parametrize(("total", "sizes"), [(3, (1, 1, 1)), (10, (7, 1, 2)), (40, (28, 4, 8))])
def test_split_is_seven_one_two(total: int, sizes: tuple[int, int, int]) -> None:
    split = split_patients(PhantomOptions(total, seed=5))
    assert tuple(map(len, split.values())) == sizes
    assert sorted(sum(split.values(), [])) == list(range(1, total + 1))
    if total == 40:
        assert split != split_patients(PhantomOptions(total, seed=6))


def test_running_again_writes_only_what_is_missing(tmp_path: Path, phantom: Path) -> None:
    calls = []
    before = contents(phantom)
    assert write_phantom(phantom, OPTIONS, on_patient=lambda *a: calls.append(a)) == 0
    assert calls == [(0, 0)]
    lost = phantom / "database_nifti" / "patient0001"
    kept = tmp_path / "kept"
    lost.rename(kept)
    (phantom / "database_split" / "subgroup_testing.txt").unlink()
    assert write_phantom(phantom, OPTIONS) == 1
    assert contents(phantom) == before


def test_a_full_disk(tmp_path: Path, phantom: Path, monkeypatch) -> None:
    root, written = tmp_path / "data", []

    def write_some(path: Path, *arguments: object) -> None:
        written.append(path)
        if len(written) == 15:  # 12 a patient
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_volume(path, *arguments)

    monkeypatch.setattr(camus, "write_volume", write_some)
    with pytest.raises(StorageError, match="goes on from the patients there") as caught:
        write_phantom(root, OPTIONS)
    assert caught.value.full
    assert str(caught.value).startswith(f"{root}: cannot be written (No space left")
    there = contents(root)
    assert all(contents(phantom)[name] == content for name, content in there.items())
    assert sum("patient0001" in name for name in there) == 14
    assert not any("patient0002" in name and "split" not in name for name in there)
    assert write_phantom(root, OPTIONS) == 3
    assert contents(root) == contents(phantom)


@pytest.mark.slow
def test_data_depend_on_the_seed_only(tmp_path: Path, phantom: Path) -> None:
    again = tmp_path / "again"
    write_phantom(again, OPTIONS, processes=2)
    assert contents(again) == contents(phantom)


def test_a_patient_does_not_depend_on_how_many_there_are() -> None:
    few, many = (draw_patient(2, PhantomOptions(n)) for n in (3, 30))
    np.testing.assert_array_equal(few[0].shapes, many[0].shapes)
    assert few[1] == many[1]
    assert draw_patient(2, PhantomOptions(3, seed=1))[0].edv != few[0].edv


def test_one_patient_in_eight_is_filmed_backwards() -> None:
    options = PhantomOptions(40, seed=7)
    assert sum(draw_patient(k, options)[1].reversed for k in range(1, 41)) == 5


def test_other_data_are_not_overwritten(tmp_path: Path, phantom: Path) -> None:
    other = PhantomOptions(patients=3, seed=1, spacing=1.5, frames=(3, 3))
    before = contents(phantom)
    with pytest.raises(DataError, match=r"holds a phantom with .*'seed': 0.*--force") as caught:
        write_phantom(phantom, other)
    assert "\n" not in str(caught.value)
    assert contents(phantom) == before
    foreign = tmp_path / "camus"
    (foreign / "database_nifti").mkdir(parents=True)
    for force in (False, True):
        with pytest.raises(DataError, match="no phantom"):
            write_phantom(foreign, other, force=force)
    assert (foreign / "database_nifti").is_dir()


def test_force_replaces_another_phantom(tmp_path: Path) -> None:
    small = {"patients": 3, "spacing": 3.0, "frames": (2, 2)}
    write_phantom(tmp_path / "p", PhantomOptions(seed=1, **small))
    before = contents(tmp_path / "p")
    assert write_phantom(tmp_path / "p", PhantomOptions(seed=2, **small), force=True) == 3
    after = contents(tmp_path / "p")
    assert after.keys() == before.keys()
    image = "database_nifti/patient0001/patient0001_4CH_ED.nii.gz"
    assert after[image] != before[image]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patients": 2}, "--patients 2: wanted 3 or more"),
        ({"patients": 5, "frames": (1, 4)}, "--frames 1 4: wanted"),
        ({"patients": 5, "frames": (9, 4)}, "--frames 9 4: wanted"),
        ({"patients": 5, "spacing": 0.0}, "--spacing 0.0: wanted"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PhantomOptions(**options)
