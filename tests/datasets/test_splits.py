from __future__ import annotations

import itertools
import re

import pytest

from echozoo.datasets.splits import FOLDS, SUBSETS, camus_lists, read_split_files, split_patients
from echozoo.errors import ConfigError, DataError

ALL = [f"patient{number:04d}" for number in range(1, 501)]
FILES = {
    "train": "subgroup_training.txt",
    "val": "subgroup_validation.txt",
    "test": "subgroup_testing.txt",
}


def shared_list(path) -> list[str]:
    return re.findall(r"patient\d{4}", path.read_text())


def write_lists(root, train="patient0001", val="patient0002", test="patient0003"):
    folder = root / "database_split"
    folder.mkdir(parents=True, exist_ok=True)
    for subset, text in (("train", train), ("val", val), ("test", test)):
        (folder / FILES[subset]).write_text(text)
    return folder


def refusal(*arguments) -> str:
    with pytest.raises(DataError) as caught:
        split_patients(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_published_lists_equal_the_shared_ones(shared):
    folder = shared / "data" / "camus_splits"
    for subset in SUBSETS:
        assert list(camus_lists("official")[subset]) == shared_list(folder / FILES[subset])
        for k, fold in enumerate(FOLDS, start=1):
            name = FILES[subset].replace("subgroup", f"ten_folds/subGroup{k}")
            assert list(camus_lists(fold)[subset]) == shared_list(folder / name)


def test_folds_partition_the_patients():
    tests = [name for fold in FOLDS for name in camus_lists(fold)["test"]]
    assert sorted(tests) == ALL


@pytest.mark.parametrize("scheme", ["official", *FOLDS, "ratio", "mini"])
def test_subsets_are_disjoint(scheme, tmp_path):
    subsets = [split_patients(scheme, subset, ALL, tmp_path) for subset in SUBSETS]
    for first, second in itertools.combinations(subsets, 2):
        assert not set(first) & set(second)
    sizes = {"ratio": [350, 50, 100], "mini": [140, 20, 40]}.get(scheme, [400, 50, 50])
    assert [len(subset) for subset in subsets] == sizes


@pytest.mark.parametrize("scheme", ["ratio", "mini"])
def test_seeded_splits(scheme, tmp_path):
    first = split_patients(scheme, "test", ALL, tmp_path, 0)
    assert first == split_patients(scheme, "test", ALL[::-1], tmp_path, 0)
    assert first != split_patients(scheme, "test", ALL, tmp_path, 1)
    assert first == sorted(first)


def test_ratio_does_not_change_between_versions(tmp_path):
    assert split_patients("ratio", "val", ALL[:20], tmp_path) == ["patient0006", "patient0020"]


def test_small_folders(tmp_path, said):
    for count in range(3, 9):
        for scheme in ("ratio", "mini"):
            parts = [split_patients(scheme, subset, ALL[:count], tmp_path) for subset in SUBSETS]
            assert sorted(sum(parts, [])) == ALL[:count]
            assert all(parts)
    assert any("takes 200 patients, here are 3" in message for message in said)
    assert "wants at least 3" in refusal("ratio", "val", ALL[:2], tmp_path)


def test_files_of_the_mini_set(shared, said):
    root = shared / "data" / "camus_mini"
    on_disk = sorted(path.name for path in (root / "database_nifti").iterdir())
    counts = {s: len(split_patients("files", s, on_disk, root)) for s in SUBSETS}
    assert counts == {"train": 140, "val": 20, "test": 40}
    # The folder of the patients itself may be the data folder.
    assert len(split_patients("files", "val", on_disk, root / "database_nifti")) == 20
    assert said == []


def test_list_files_with_windows_ends(tmp_path):
    folder = write_lists(tmp_path)
    (folder / FILES["train"]).write_bytes(b"\xef\xbb\xbfpatient0001\r\n\r\npatient0004 \r\n")
    assert read_split_files(folder)["train"] == ("patient0001", "patient0004")


def test_faulty_list_files(tmp_path):
    folder = write_lists(tmp_path, val="patient0002\npatient0003\n")
    message = refusal("files", "train", ALL, tmp_path)
    assert "patient0003" in message
    assert FILES["val"] in message
    assert FILES["test"] in message
    write_lists(tmp_path, train="patient0001\n7\n")
    assert f"{folder / FILES['train']}, line 2: '7', wanted" in refusal(
        "files", "test", ALL, tmp_path
    )
    write_lists(tmp_path, train="patient0001\npatient0001\n")
    assert "line 2: patient0001 is on line 1 already" in refusal("files", "val", ALL, tmp_path)
    write_lists(tmp_path, val="\n")
    assert "no patient listed" in refusal("files", "val", ALL, tmp_path)
    (folder / FILES["test"]).unlink()
    assert str(folder / FILES["test"]) in refusal("files", "train", ALL, tmp_path)
    assert "no such folder; the split 'files' wants" in refusal(
        "files", "train", ALL, tmp_path / "absent"
    )


def test_patients_that_are_not_on_disk(tmp_path, said):
    for _ in range(2):
        assert split_patients("official", "train", ALL[:10], tmp_path) == ALL[:10]
    assert len(said) == 1
    assert "390 of 400 patients are not in" in said[0]
    assert "none of its 50 patients" in refusal("official", "test", ALL[:10], tmp_path)


def test_unknown_names(tmp_path):
    for scheme, subset in (("fold11", "train"), ("ratio", "training")):
        with pytest.raises(ConfigError, match="wanted one of files, official"):
            split_patients(scheme, subset, ALL, tmp_path)
