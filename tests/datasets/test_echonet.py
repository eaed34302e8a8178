"""EchoNet-Dynamic's layout: generated films, and tracings as they were recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echozoo.datasets.echonet import EchoNetDataset
from echozoo.datasets.tracings import polygon_mask, traced_mask
from echozoo.errors import DataError
from echozoo.films.io import read_volume
from echozoo.phantom import PhantomOptions, write_phantom
from echozoo.phantom.patients import film_patient

pytest.importorskip("av", reason="the extra video is not installed")
OPTIONS = PhantomOptions(patients=4, spacing=2.0, frames=(4, 5), layout="echonet")
PIPELINE = [dict(type="LoadClip"), dict(type="PackClip")]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("echonet") / "data"
    write_phantom(root, OPTIONS)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil; videos are links."""
    for path in written.glob("*.csv"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "Videos").mkdir()
    for path in (written / "Videos").iterdir():
        (tmp_path / "Videos" / path.name).symlink_to(path)
    return tmp_path


def data_of(root: Path, subset: str = "train", **options) -> EchoNetDataset:
    options = dict(test_mode=True, pipeline=PIPELINE) | options
    return EchoNetDataset(str(root), subset=subset, **options)


def test_tracings_are_filled_as_recorded(shared: Path):
    with np.load(shared / "golden/related_video/echonet_tracing.npz") as arrays:
        for tracing, packed in zip(arrays["tracings"], arrays["masks"], strict=True):
            mask = np.unpackbits(packed, axis=-1).astype(bool)
            np.testing.assert_array_equal(traced_mask(tracing, mask.shape), mask)


def test_edges_belong_to_a_polygon():
    diamond = np.array([[3, 1], [5, 3], [3, 5], [1, 3]])
    y, x = np.mgrid[:7, :7]
    np.testing.assert_array_equal(polygon_mask(diamond, (7, 7)), abs(y - 3) + abs(x - 3) <= 2)


def test_films_have_ed_es_their_masks_and_the_lists_numbers(written: Path):
    seen, orders = 0, set()
    for subset in ("train", "val", "test"):
        for one in data_of(written, subset, clip_length=None):
            sample = one["data_samples"]
            ed, es = sample.instants.index("ED"), sample.instants.index("ES")
            assert sample.labelled.flatten().nonzero().flatten().tolist() == sorted((ed, es))
            areas = (sample.native_labels == 1).sum((1, 2))
            assert areas[ed] > areas[es] > 100
            assert sample.spacing is None
            assert sample.native_size == (112, 112)
            assert 20 < sample.info.ef < 80
            # The masks are the phantom's, as far as 20 chords of whole pixels tell.
            film = film_patient(int(sample.patient[-4:]), OPTIONS, "4CH")
            true = [(film.labels[k] == 1).sum() for k in (0, -1)]
            ratio = true[1] / true[0]
            assert float(areas[es] / areas[ed]) == pytest.approx(ratio, abs=0.08)
            orders.add(ed < es)
            seen += 1
    assert seen == 4
    assert orders == {True, False}, "ES comes first in one of them"


def test_clips_are_spread_from_ed_to_es(written: Path):
    for one in data_of(written, clip_length=4, spread=True):
        sample = one["data_samples"]
        assert (sample.instants[0], sample.instants[-1]) == ("ED", "ES")
        assert sample.labelled[[0, -1]].all()
        assert not sample.labelled[1:-1].any()
        steps = np.diff(sample.frames)
        assert (np.sign(steps) == np.sign(steps[0])).all()
        assert np.ptp(steps) <= 1


def test_masks_are_written_once(written: Path, tmp_path: Path):
    first = data_of(written, cache_dir=str(tmp_path)).films()
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()}
    assert len(files) == len(first)
    assert all(read_volume(path, label=True).array.shape == (2, 112, 112) for path in files)
    data_of(written, cache_dir=str(tmp_path))
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()}


def spoil(root: Path, name: str, old: str, new: str, count: int = -1) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, count))


def test_films_with_wrong_tracings_or_no_file_are_left_out_and_said_once(root: Path, monkeypatch):
    said = []
    monkeypatch.setattr("echozoo.datasets.film_dataset.notice", said.append)
    names = [film.patient for subset in ("train", "val", "test") for film in films(root, subset)]
    rows = (root / "VolumeTracings.csv").read_text().splitlines()
    one_less = next(k for k, row in enumerate(rows) if row.startswith(names[0]))
    gone = names[1]
    rows = [row for k, row in enumerate(rows) if k != one_less and not row.startswith(gone)]
    (root / "VolumeTracings.csv").write_text("\n".join(rows))
    train = data_of(root, lazy_init=True)
    left = [film.patient for film in train.films()]
    assert left == []
    assert len(train.problems) == 2
    assert f"{names[0]}: 20 and 21 rows a frame, wanted 21" in train.problems[0]
    assert f"{gone}: 0 traced frames, wanted two" in train.problems[1]
    with pytest.raises(DataError, match="no sample.*20 and 21 rows"):
        data_of(root)
    (root / "Videos" / f"{names[2]}.avi").unlink()
    with pytest.raises(DataError, match=f"{names[2]}.avi: no such file"):
        data_of(root, "val")


def films(root: Path, subset: str) -> list:
    return data_of(root, subset, lazy_init=True).films()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("FileList.csv", "NumberOfFrames", "Frames", "no column NumberOfFrames"),
        ("FileList.csv", "TRAIN", "LEARN", "Split is 'LEARN', wanted TRAIN, VAL, TEST"),
        ("FileList.csv", ",112,112,", ",112,x,", "line 2: FrameWidth is 'x', wanted a number"),
        ("VolumeTracings.csv", "X1", "x", "no column X1"),
        ("VolumeTracings.csv", "avi,", "avi,?", "line 2: X1 is"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(root: Path, name, old, new, message):
    spoil(root, name, old, new)
    with pytest.raises(DataError, match=message) as error:
        data_of(root)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_film_shorter_than_its_list_says_is_refused(root: Path):
    listed = (root / "FileList.csv").read_text().splitlines()
    rows = [row.split(",") for row in listed]
    longer = [[*row[:-2], str(int(row[-2]) + 5), row[-1]] for row in rows[1:]]
    (root / "FileList.csv").write_text("\n".join(",".join(row) for row in [rows[0], *longer]))
    with pytest.raises(DataError, match="frames, wanted .* as its data set's tables say"):
        data_of(root, clip_length=None)[0]


def test_another_folder_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="wanted the folder of EchoNet-Dynamic"):
        data_of(tmp_path)
