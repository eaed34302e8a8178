"""Both ways to load a clip: at native size, and at the size of the network's input."""

from __future__ import annotations

import os
from pathlib import Path

import camus_sets
import numpy as np
import pytest

from echozoo.datasets.camus import CAMUSDataset
from echozoo.datasets.transforms.geometry import ResizeClip
from echozoo.datasets.transforms.loading_resized import LoadResizedClip
from echozoo.errors import ConfigError, DataError
from echozoo.films import cache
from echozoo.films.io import write_volume

ADDED = (
    *("images", "labels", "labelled", "native_labels"),
    *("spacing", "native_size", "input_size", "valid_size"),
)


def build(root: Path, folder: Path, *steps: dict, **options) -> CAMUSDataset:
    return camus_sets.build(
        root, folder, **{"image_size": (16, 20), "pipeline": list(steps), **options}
    )


@pytest.fixture(params=["LoadClip", "LoadResizedClip"])
def loading(request) -> dict:
    """Each of the two ways."""
    return dict(type=request.param)


def refusal(dataset: CAMUSDataset, error: type[Exception] = DataError) -> str:
    with pytest.raises(error) as caught:
        list(map(dataset.__getitem__, range(len(dataset))))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same_clips(one: CAMUSDataset, other: CAMUSDataset) -> None:
    assert len(one) == len(other) > 0
    for index in range(len(one)):
        clip, wanted = one[index], other[index]
        assert clip.keys() == wanted.keys()
        for key in ADDED:
            if key in wanted:
                np.testing.assert_array_equal(clip[key], wanted[key], strict=True)


# Resized clips -------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(clip_length=1),
        dict(frames="sequence", clip_length=3),
        dict(structures=("myo",)),
        dict(image_size=(40, 50)),
        dict(test_mode=True),
    ],
    ids=["stills", "one still", "film", "one structure", "larger", "test"],
)
def test_the_cache_holds_what_resizing_makes(make_camus, tmp_path, options, keep_aspect):
    root = make_camus(patients=10, frames=6)
    steps = dict(type="LoadClip"), dict(type="ResizeClip", keep_aspect=keep_aspect)
    wanted = build(root, tmp_path, *steps, **options)
    resized = dict(type="LoadResizedClip", keep_aspect=keep_aspect)
    for _ in range(2):  # made, then read
        assert_same_clips(build(root, tmp_path, resized, **options), wanted)


def test_frames_without_masks(make_camus, tmp_path):
    dataset = build(make_camus(), tmp_path)
    clip = dataset[0]
    clip["frame_files"] = tuple(files._replace(label=None) for files in clip["frame_files"])
    clip = LoadResizedClip()(clip)
    assert clip["images"].shape == (2, 16, 20)
    assert (clip["labels"] == 255).all()
    assert not clip["labelled"].any()


def test_nothing_is_decoded_or_resized_again(make_camus, tmp_path, monkeypatch):
    dataset = build(make_camus(), tmp_path, dict(type="LoadResizedClip"))
    first = dataset[0]

    def again(*_):
        raise AssertionError("made a second time")

    monkeypatch.setattr(cache, "read_noted", again)
    monkeypatch.setattr(ResizeClip, "transform", again)
    np.testing.assert_array_equal(dataset[0]["images"], first["images"])
    assert dataset[0]["images"].flags.writeable


@pytest.mark.parametrize("changed", ["_ED.nii.gz", "_ED_gt.nii.gz"])
def test_a_changed_file_is_read_again(make_camus, tmp_path, changed):
    root = make_camus()
    dataset = build(root, tmp_path, dict(type="LoadResizedClip"), image_size=make_camus.size)
    assert dataset[0]["images"][0].any()
    assert dataset[0]["labels"][0].any()
    for path in root.glob(f"*/*/*{changed}"):
        write_volume(path, np.zeros_like(make_camus.image(0)), (0.5, 0.25))
        os.utime(path, ns=(0, 1))
    clip = dataset[0]
    key = "labels" if "gt" in changed else "images"
    assert not clip[key][0].any()
    assert clip[key][1].any()


def test_sizes_do_not_share_an_entry(make_camus, tmp_path):
    root = make_camus()
    for size in ((16, 20), (20, 16)):
        for keep_aspect in (False, True):
            step = dict(type="LoadResizedClip", size=size, keep_aspect=keep_aspect)
            clip = build(root, tmp_path, step)[0]
            assert clip["images"].shape[1:] == clip["input_size"] == size
            assert (clip["valid_size"] == size) is not keep_aspect


def test_no_size(make_camus, tmp_path):
    dataset = build(make_camus(), tmp_path, dict(type="LoadResizedClip"), image_size=None)
    assert "no size; give it size=(H, W)" in refusal(dataset, ConfigError)


# What goes wrong -----------------------------------------------------------------------------


def test_0_255_masks(make_camus, tmp_path, loading):
    root = make_camus()
    for path in root.glob("*/*/*_ES_gt.nii.gz"):
        write_volume(path, 255 * (make_camus.label(0) > 0).astype(np.uint8), (0.5, 0.25))
    message = refusal(build(root, tmp_path, loading))
    assert "_ES_gt.nii.gz: label values 0, 255, wanted only 0 background, 1 left" in message


def test_mask_of_another_size(make_camus, tmp_path, loading):
    root = make_camus()
    for path in root.glob("*/*/*_ED_gt.nii.gz"):
        write_volume(path, make_camus.label(0)[:-1], (0.5, 0.25))
    message = refusal(build(root, tmp_path, loading))
    assert "_ED_gt.nii.gz: mask of 1 x 23 x 32" in message
    assert "wanted 1 x 24 x 32" in message


def test_mask_of_another_length(make_camus, tmp_path, loading):
    root = make_camus(frames=5)
    for path in root.glob("*/*/*_half_sequence_gt.nii.gz"):
        write_volume(path, np.stack([make_camus.label(0)] * 4), (0.5, 0.25))
    dataset = build(root, tmp_path, loading, frames="sequence")
    assert "mask of 4 x 24 x 32" in refusal(dataset)


@pytest.mark.parametrize(
    ("rows", "spacing", "found"),
    [
        (22, (0.5, 0.25), "frames of 22 x 32 pixels, wanted 24 x 32"),
        (24, (0.5, 0.3), "spacing of 0.5 x 0.3 mm, wanted 0.5 x 0.25 mm"),
    ],
)
def test_frames_of_one_clip_on_two_grids(make_camus, tmp_path, loading, rows, spacing, found):
    root = make_camus()
    for path in root.glob("*/*/*_ES.nii.gz"):
        write_volume(path, make_camus.image(1)[:rows], spacing)
        mask = path.with_name(path.name.replace("_ES", "_ES_gt"))
        write_volume(mask, make_camus.label(1)[:rows], spacing)
    message = refusal(build(root, tmp_path, loading))
    assert found in message
    assert "_ES.nii.gz" in message


def test_damaged_files(make_camus, tmp_path, loading):
    root = make_camus()
    for path in root.glob("*/*/*_ED.nii.gz"):
        path.write_bytes(path.read_bytes()[:-20])
    assert "_ED.nii.gz: truncated or damaged" in refusal(build(root, tmp_path, loading))


def test_an_empty_film(make_camus, tmp_path, loading):
    root = make_camus(frames=5)
    for path in root.glob("*/*/*_half_sequence.nii.gz"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="empty file"):
        build(root, tmp_path, loading, frames="sequence")
