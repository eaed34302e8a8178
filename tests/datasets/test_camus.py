from __future__ import annotations

import numpy as np
import pytest
from camus_sets import build

from echozoo.datasets.camus import CAMUSDataset
from echozoo.datasets.films import random_window, tiling_windows
from echozoo.errors import ConfigError, DataError

PIPELINE = [dict(type="LoadClip"), dict(type="PackClip")]


def refusal(error, *arguments, **options) -> str:
    with pytest.raises(error) as caught:
        build(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shown(sample) -> list[int]:
    """Which frames of the file a loaded clip shows, told from its pixels."""
    return [(int(image[0, 0]) - 1) // 10 for image in sample["images"]]


# What is on disk -----------------------------------------------------------------------------


def test_a_sample_has_what_the_contract_says(make_camus, tmp_path, said):
    dataset = build(make_camus(), tmp_path, test_mode=True)
    sample = dataset[0]
    assert sample["patient"] in {f"patient{k:04d}" for k in (1, 2, 3)}
    assert sample["view"] == "2CH"
    assert sample["sequence"] == f"{sample['patient']}_2CH"
    assert sample["quality"] == "Good"
    assert sample["structures"] == ("lv", "myo", "la")
    assert sample["frames"] == (0, 1)
    assert sample["instants"] == ("ED", "ES")
    assert sample["spacing"] == (0.5, 0.25)
    assert sample["native_size"] == make_camus.size
    assert sample["test_mode"] is True
    assert isinstance(sample["rng"], np.random.Generator)
    assert shown(sample) == [0, 1]
    np.testing.assert_array_equal(sample["labels"], [make_camus.label(0), make_camus.label(1)])
    np.testing.assert_array_equal(sample["native_labels"], sample["labels"])
    assert sample["native_labels"] is not sample["labels"]
    sample["images"][:] = 0  # a transform may write: the cache does not change
    assert shown(dataset[0]) == [0, 1]
    assert dataset.metainfo["classes"] == ("lv", "myo", "la")
    assert len(dataset.metainfo["palette"]) == 3
    assert said == []


@pytest.mark.parametrize(
    ("place", "suffix", "below"),
    [
        ("database_nifti", ".nii.gz", ""),
        ("database_nifti", ".nii.gz", "database_nifti"),
        ("", ".nii", ""),
        ("training", ".mhd", ""),
        ("testing", ".mhd", ""),
    ],
)
def test_layouts(make_camus, tmp_path, place, suffix, below, said):
    root = make_camus(place=place, suffix=suffix)
    assert len(build(root / below, tmp_path)) == 2
    assert said == []


def test_numbers_that_are_used_twice(make_camus, tmp_path, said):
    make_camus(place="training", suffix=".mhd")
    root = make_camus(place="testing", suffix=".mhd")
    dataset = build(root, tmp_path)
    assert "/training/" in dataset[0]["frame_files"][0][0]
    assert "3 patient names are there twice" in said[0]


def test_the_environment_names_the_data(make_camus, tmp_path, monkeypatch):
    monkeypatch.setenv("CAMUS_ROOT", str(make_camus()))
    assert len(CAMUSDataset(None, split="ratio", cache_dir=str(tmp_path / "cache"))) == 2
    assert len(CAMUSDataset("", split="ratio", cache_dir=str(tmp_path / "cache"))) == 2
    monkeypatch.delenv("CAMUS_ROOT")
    with pytest.raises(ConfigError, match="pass --data-root FOLDER .* CAMUS_ROOT"):
        CAMUSDataset(None)


def test_no_data_there(tmp_path):
    assert "no such folder" in refusal(DataError, tmp_path / "absent", tmp_path)
    assert "no patient folder" in refusal(DataError, tmp_path, tmp_path)


def test_what_is_missing_is_said_once(make_camus, tmp_path, said):
    root = make_camus(views=("4CH",), info=None)
    first = root / "database_nifti/patient0001"
    for path in first.glob("*_ES*"):
        path.unlink()
    subsets = {name: build(root, tmp_path, subset=name) for name in ("train", "val", "test")}
    assert [len(dataset) for dataset in subsets.values()] == [1, 1, 1]
    assert len(said) == 3
    assert all("2CH images (1), Info files (1)" in message for message in said)
    assert sum("ED or ES images (1)" in message for message in said) == 1
    pairs = [dataset[0] for dataset in subsets.values()]
    (repeated,) = [sample for sample in pairs if sample["patient"] == "patient0001"]
    assert repeated["frames"] == (0, 0)
    assert repeated["instants"] == ("ED", "ED")
    assert shown(repeated) == [0, 0]
    assert repeated["quality"] is None


def test_only_es(make_camus, tmp_path, said):
    root = make_camus(views=("4CH",))
    for path in root.glob("*/*/*_ED*"):
        path.unlink()
    sample = build(root, tmp_path)[0]
    assert sample["instants"] == ("ES", "ES")
    assert shown(sample) == [1, 1]


def test_one_mask_missing_keeps_the_clip_and_the_other(make_camus, tmp_path, said):
    root = make_camus(views=("4CH",))
    for path in root.glob("*/*/*_ES_gt*"):
        path.unlink()
    clip = build(root, tmp_path)[0]
    assert clip["instants"] == ("ED", "ES")
    assert clip["labelled"].tolist() == [[True] * 3, [False] * 3]
    np.testing.assert_array_equal(clip["labels"][0], make_camus.label(0))
    assert (clip["labels"][1] == 255).all()
    assert "ES masks (1)" in said[-1]
    assert len(build(root, tmp_path, clip_length=1)) == 1
    assert len(build(root, tmp_path, clip_length=1, test_mode=True)) == 2


def test_without_any_mask_there_is_nothing_to_train(make_camus, tmp_path, said):
    root = make_camus(views=("4CH",))
    for path in root.glob("*/*/*_gt*"):
        path.unlink()
    assert "no sample in 1 patients" in refusal(DataError, root, tmp_path)
    clip = build(root, tmp_path, test_mode=True)[0]
    assert "masks of films (1)" in said[-1]
    assert not clip["labelled"].any()
    assert (clip["native_labels"] == 255).all()


def test_quality(make_camus, tmp_path, said):
    root = make_camus()
    for info in root.glob("*/*/Info_2CH.cfg"):
        info.write_text("ImageQuality: Poor\n")
    good = build(root, tmp_path, quality=["Good", "Medium"])
    assert {good[k]["view"] for k in range(len(good))} == {"4CH"}
    assert "views of the quality asked for (1)" in said[-1]
    for info in root.glob("*/*/Info_*.cfg"):
        info.unlink()
    assert len(build(root, tmp_path)) == 2
    assert "quality" in refusal(DataError, root, tmp_path, quality=["Good"])


def test_structures_become_contiguous(make_camus, tmp_path):
    dataset = build(make_camus(), tmp_path, structures=["la", "lv"])
    assert dataset.structures == ("lv", "la")
    assert dataset.metainfo["classes"] == ("lv", "la")
    np.testing.assert_array_equal(dataset[0]["labels"][0, 0, :4], [1, 0, 2, 0])


def test_choices(make_camus, tmp_path):
    root = make_camus()
    for options in (
        {"frames": "all"},
        {"clip_length": 0},
        {"frame_stride": 0},
        {"views": ["3CH"]},
        {"views": []},
        {"quality": ["good"]},
        {"structures": ["rv"]},
        {"structures": []},
    ):
        (value,) = options.values()
        message = refusal(ConfigError, root, tmp_path, **options)
        assert repr(value).strip("[]") in message
        assert "wanted" in message


def test_one_name_instead_of_a_list(make_camus, tmp_path):
    dataset = build(make_camus(), tmp_path, views="4CH", quality="Good", structures="myo")
    assert len(dataset) == 1
    assert dataset.structures == ("myo",)


# Stills and films ----------------------------------------------------------------------------


def test_single_stills(make_camus, tmp_path):
    dataset = build(make_camus(views=("4CH",)), tmp_path, clip_length=1)
    assert [dataset[k]["instants"] for k in range(len(dataset))] == [("ED",), ("ES",)]
    assert dataset[1]["frames"] == (1,)


def test_without_sequences_stills_are_taken(make_camus, tmp_path, said):
    root = make_camus()
    for subset in ("train", "val", "test"):
        dataset = build(root, tmp_path, subset=subset, frames="sequence", clip_length=8)
        assert dataset[0]["instants"] == ("ED", "ES")
    assert len(said) == 1
    assert "no sequence with masks" in said[0]


def test_a_sequence(make_camus, tmp_path):
    dataset = build(make_camus(frames=7), tmp_path, frames="sequence", test_mode=True)
    sample = dataset[0]
    assert sample["frames"] == tuple(range(7))
    assert sample["instants"] == ("ED", "", "", "", "", "", "ES")
    assert shown(sample) == list(range(7))


def test_a_sequence_from_es_to_ed_is_flipped(make_camus, tmp_path):
    root = make_camus(frames=7, info="ED: 7\nES: 1\nNbFrame: 7\n")
    sample = build(root, tmp_path, frames="sequence", test_mode=True)[0]
    assert sample["frames"] == tuple(range(7))
    assert sample["instants"] == ("ED", "", "", "", "", "", "ES")
    assert shown(sample) == list(range(7))[::-1]
    np.testing.assert_array_equal(sample["labels"], [make_camus.label(k) for k in range(7)][::-1])
    assert [files.index for files in sample["frame_files"]] == list(range(7))[::-1]


def test_instants_are_where_info_says(make_camus, tmp_path, said):
    root = make_camus(frames=7, info="ED: 2\nES: 5\n")
    sample = build(root, tmp_path, frames="sequence", test_mode=True)[0]
    assert sample["instants"] == ("", "ED", "", "", "ES", "", "")
    root = make_camus(frames=7, info="ED: 1\nES: 20\n")
    sample = build(root, tmp_path, frames="sequence", test_mode=True)[0]
    assert sample["instants"] == ("ED", "", "", "", "", "", "ES")
    assert "usable ED and ES of Info files (2)" in said[-1]


def test_old_name_of_sequences(make_camus, tmp_path, said):
    root = make_camus(frames=4, place="training", suffix=".mhd")
    for header in root.glob("*/*/*_half_sequence*.mhd"):
        header.rename(header.with_name(header.name.replace("half_", "")))
    assert shown(build(root, tmp_path, frames="sequence", test_mode=True)[0]) == [0, 1, 2, 3]
    assert said == []


def test_views_without_a_sequence_are_left_out(make_camus, tmp_path, said):
    root = make_camus(frames=4)
    for path in root.glob("*/*/*_2CH_half_sequence.nii.gz"):
        path.unlink()
    for path in root.glob("*/patient0001/*_half_sequence_gt.nii.gz"):
        path.unlink()
    (root / "database_split").mkdir()
    lists = ("patient0001\npatient0002\npatient0003", "patient0004", "patient0005")
    for name, text in zip(("training", "validation", "testing"), lists, strict=True):
        (root / f"database_split/subgroup_{name}.txt").write_text(text)
    build(root, tmp_path, split="files", frames="sequence")
    assert "2 samples of 3 patients; absent: sequences (3), masks of films (1)" in said[-1]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 9, 16, 19])
@pytest.mark.parametrize("clip_length", [1, 2, 4, 8, None])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows(length, clip_length, stride):
    windows = tiling_windows(length, clip_length, stride)
    assert {frame for window in windows for frame in window} == set(range(length))
    if clip_length:
        assert {len(window) for window in windows} == {clip_length}
        assert len(windows) <= max(stride, -(-length // clip_length) + stride)
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(200):
        window = random_window(length, clip_length, stride, rng)
        assert set(window) <= set(range(length))
        assert clip_length in (len(window), None)
        if clip_length and length > (clip_length - 1) * stride:
            assert set(np.diff(window)) <= {stride}
        starts.add(window[0])
    span = ((clip_length or length) - 1) * stride + 1
    if clip_length:
        assert starts == set(range(max(length - span, 0) + 1))


def test_short_films_are_played_to_and_fro():
    rng = np.random.default_rng(0)
    assert tiling_windows(3, 8, 1) == [(0, 1, 2, 1, 0, 1, 2, 1)]
    assert random_window(3, 8, 1, rng) == (0, 1, 2, 1, 0, 1, 2, 1)
    assert random_window(5, 4, 3, rng) == (0, 3, 2, 1)


def test_the_last_window_is_shifted_back():
    assert tiling_windows(10, 4, 1) == [(0, 1, 2, 3), (4, 5, 6, 7), (6, 7, 8, 9)]


# Real data -----------------------------------------------------------------------------------


def test_camus_mini(shared, tmp_path, said):
    root = shared / "data" / "camus_mini"
    before = {path.name for path in root.iterdir()}
    datasets = {
        subset: build(root, tmp_path, subset=subset, split="files", test_mode=True)
        for subset in ("train", "val", "test")
    }
    assert {subset: len(dataset) for subset, dataset in datasets.items()} == {
        "train": 140,
        "val": 20,
        "test": 40,
    }
    sample = datasets["val"][0]
    assert sample["view"] == "4CH"
    assert sample["images"].shape == sample["native_labels"].shape == (2, *sample["native_size"])
    area = [(labels == 1).sum() for labels in sample["labels"]]
    assert area[0] > area[1]  # the ventricle is larger at ED
    assert len(said) == 3
    assert {path.name for path in root.iterdir()} == before


def test_camus_mhd(shared, tmp_path):
    root = shared / "data" / "camus_mhd"
    dataset = build(root, tmp_path, split="official", subset="train")
    assert len(dataset) == 6
    sample = dataset[1]
    assert (sample["sequence"], sample["quality"]) == ("patient0001_4CH", "Good")
    assert sample["spacing"] == (0.154, 0.308)
    assert sample["native_size"] == (778, 549)


def test_labels_of_the_ends_alone_and_clips_spread_between_them(make_camus):
    """What a data set with two labelled frames a film has, from one that has all."""
    root = make_camus(frames=9)
    data = dict(data_root=str(root), split="ratio", subset="train", pipeline=PIPELINE)
    ends = CAMUSDataset(**data, labels="ends", clip_length=4, test_mode=True)
    for one in ends:
        sample = one["data_samples"]
        known = [sample.instants[t] for t in sample.labelled.all(1).nonzero().flatten()]
        assert set(known) <= {"ED", "ES"}
    spread = CAMUSDataset(**data, labels="ends", clip_length=5, spread=True)
    for one in spread:
        sample = one["data_samples"]
        assert sample.frames == (0, 2, 4, 6, 8)
        assert sample.labelled.all(1).tolist() == [True, False, False, False, True]
    with pytest.raises(ConfigError, match="labels='few'"):
        CAMUSDataset(**data, labels="few")


def test_samples_bring_what_the_info_file_says(make_camus):
    root = make_camus(frames=3, info="ED: 1\nES: {frames}\nEF: 55\n")
    data = CAMUSDataset(str(root), split="ratio", pipeline=PIPELINE, clip_length=None)
    assert data[0]["data_samples"].info.ef == 55
