from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from echozoo.datasets.transforms.screens import RandomScreen, RandomSector
from echozoo.registry import TRANSFORMS

ALL = [RandomSector, RandomScreen]


@pytest.fixture
def fan(make_clip: Callable[..., dict]) -> Callable[..., dict]:
    """Make a clip of a bright fan on black, its transducer at the middle of the upper border."""

    def make(seed: int = 0, dtype: type = np.uint8) -> dict:
        clip = make_clip(seed, size=(120, 160))
        y, x = np.mgrid[:120, :160]
        inside = (np.hypot(y, x - 79.5) < 110) & (np.abs(x - 79.5) < y + 1)
        clip["images"] = np.where(inside, clip["images"], 0).astype(dtype)
        return clip

    return make


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_one_draw_for_all_frames(kind: type, dtype: type, fan: Callable[..., dict]) -> None:
    changed = 0
    for seed in range(5):
        before, clip = fan(seed, dtype), kind(prob=1)(fan(seed, dtype))
        for key in ("images", "labels"):
            assert clip[key].shape == before[key].shape
            assert clip[key].dtype == before[key].dtype
            assert (clip[key] == clip[key][0]).all()
        assert clip["images"].min() >= 0
        assert clip["images"].max() <= 255
        assert np.array_equal(clip["native_labels"], before["native_labels"])
        changed += not np.array_equal(clip["images"], before["images"])
    assert changed == 5


@pytest.mark.parametrize("kind", ALL)
def test_seeded_by_the_clip_alone(kind: type, fan: Callable[..., dict]) -> None:
    first, again, other = (kind(prob=1)(fan(seed))["images"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ALL)
def test_clips_without_labels(kind: type, fan: Callable[..., dict]) -> None:
    clip, labelled = fan(), kind(prob=1)(fan())
    del clip["labels"]
    assert np.array_equal(kind(prob=1)(clip)["images"], labelled["images"])


def test_a_sector_is_as_wide_and_deep_as_drawn(fan: Callable[..., dict]) -> None:
    sector = TRANSFORMS.build(
        dict(type="RandomSector", half_angle=(30, 30), depth=(0.7, 0.7), prob=1)
    )
    before, clip = fan(), sector(fan())
    y, x = np.mgrid[:120, :160]
    degrees, depth = np.rad2deg(np.arctan2(x - 79.5, y)), np.hypot(y, x - 79.5) / 120
    inside = (np.abs(degrees) < 29.9) & (depth < 0.699)
    outside = (np.abs(degrees) > 30.1) | (depth > 0.701)
    assert (clip["images"][:, inside] == before["images"][:, inside]).all()
    assert not clip["images"][:, outside].any()
    # Labels end at the depth, not at the flanks.
    assert not clip["labels"][:, depth > 0.701].any()
    assert (clip["labels"][:, depth < 0.699] == before["labels"][:, depth < 0.699]).all()
    assert (clip["labels"] > 0)[:, outside].any()


def test_a_screen_holds_the_shrunk_clip(fan: Callable[..., dict]) -> None:
    levels = {1: 90, 2: 160, 3: 230}
    unlike = 0
    for seed in range(20):
        clip = RandomScreen((0.6, 0.6), prob=1)(fan(seed))
        label = clip["labels"][0]
        area = np.count_nonzero(label) / np.count_nonzero(fan()["labels"][0])
        assert area == pytest.approx(0.36, rel=0.1)
        for value, level in levels.items():
            inside = cv2.erode((label == value).astype(np.uint8), np.ones((3, 3))) > 0
            found = clip["images"][0][inside]
            assert found.min() >= level  # an ECG or words may run over it, never a bar behind it
            unlike += np.count_nonzero(found != level) > 0
    assert unlike < 20  # of 60


def test_a_screen_shows_more_than_the_clip(fan: Callable[..., dict]) -> None:
    drawn = 0
    for seed in range(10):
        clip = RandomScreen((0.5, 0.5), prob=1)(fan(seed))
        heart = cv2.dilate((clip["labels"][0] > 0).astype(np.uint8), np.ones((51, 51))) > 0
        drawn += np.count_nonzero(clip["images"][0][~heart] > 60) > 20
    assert drawn >= 9


def test_screens_end_above_a_black_border_in_some_draws(fan: Callable[..., dict]) -> None:
    clips = [RandomScreen((0.5, 0.6), prob=1)(fan(seed)) for seed in range(40)]
    filled = [np.flatnonzero(clip["images"][0].any(1)).max() for clip in clips]
    assert min(filled) < 90
    assert max(filled) > 110
    for clip, last in zip(clips, filled, strict=True):
        assert not clip["labels"][0, last + 1 :].any()


def test_a_black_clip_gets_a_screen_too(fan: Callable[..., dict]) -> None:
    clip = fan()
    clip["images"] = np.zeros_like(clip["images"])
    assert RandomScreen(prob=1)(clip)["images"].any()
