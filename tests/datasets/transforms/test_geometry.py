from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from echozoo.datasets.transforms.geometry import (
    RandomAffine,
    RandomRotate,
    RandomScaleCrop,
    ResizeClip,
)
from echozoo.errors import ConfigError
from echozoo.registry import TRANSFORMS

RANDOM = [RandomRotate(prob=1), RandomScaleCrop(prob=1), RandomAffine(prob=1)]
NAMES = [type(transform).__name__ for transform in RANDOM]


@pytest.mark.parametrize("transform", RANDOM, ids=NAMES)
def test_one_draw_moves_images_and_labels_of_all_frames(
    transform: RandomRotate, make_clip: Callable[..., dict]
) -> None:
    before, clip = make_clip(), transform(make_clip())
    assert clip["images"].shape == before["images"].shape
    assert clip["images"].dtype == clip["labels"].dtype == np.uint8
    assert not np.array_equal(clip["labels"], before["labels"])
    assert (clip["images"] == clip["images"][0]).all()
    assert (clip["labels"] == clip["labels"][0]).all()
    assert set(np.unique(clip["labels"])) <= {0, 1, 2, 3}
    assert np.array_equal(clip["native_labels"], before["labels"])
    # Inside a structure, away from its border, the gray level still tells the label.
    for value in (1, 2, 3):
        inside = cv2.erode((clip["labels"][0] == value).astype(np.uint8), np.ones((5, 5)))
        assert inside.any()
        gray = before["images"][before["labels"] == value][0]
        assert (clip["images"][0][inside > 0] == gray).all()


@pytest.mark.parametrize("transform", RANDOM, ids=NAMES)
def test_seeded_by_the_clip_alone(transform: RandomRotate, make_clip: Callable[..., dict]) -> None:
    first, again, other = (transform(make_clip(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first["images"], again["images"])
    assert not np.array_equal(first["images"], other["images"])


def test_a_transform_of_no_chance_does_nothing(make_clip: Callable[..., dict]) -> None:
    assert np.array_equal(RandomRotate(prob=0)(make_clip())["images"], make_clip()["images"])


def test_scale_crop_keeps_the_size_and_enlarges(make_clip: Callable[..., dict]) -> None:
    for seed in range(5):
        clip = RandomScaleCrop(scale=(1.3, 1.3), prob=1)(make_clip(seed))
        area = np.count_nonzero(clip["labels"][0])
        before = np.count_nonzero(make_clip()["labels"][0])
        assert area == pytest.approx(1.3**2 * before, rel=0.08)
        # The window lies inside the enlarged image: its border brings no black in.
        assert clip["images"].min() == make_clip()["images"].min()


@pytest.mark.parametrize("degrees", [90.0, -90.0])
def test_rotation_is_rigid_in_mm_where_pixels_are_oblong(
    degrees: float, make_clip: Callable[..., dict]
) -> None:
    clip = make_clip(size=(80, 80))
    clip["spacing"] = (0.5, 1.0)
    clip["labels"][:] = 0
    clip["labels"][:, 20:60, 30:50] = 1  # 20 mm x 20 mm: a quarter turn changes nothing
    clip["rng"] = type("Fixed", (), {"random": lambda _: 0, "uniform": lambda *_: degrees})()
    before = clip["labels"].copy()
    assert np.array_equal(RandomRotate(prob=1)(clip)["labels"], before)


def test_rotating_before_or_after_resizing_is_the_same(make_clip: Callable[..., dict]) -> None:
    rotate, resize = RandomRotate(prob=1), ResizeClip(size=(64, 64))
    first = resize(rotate(make_clip(3, size=(240, 360))))["labels"]
    second = rotate(resize(make_clip(3, size=(240, 360))))["labels"]
    assert np.mean(first != second) < 0.01


@pytest.mark.parametrize(
    ("size", "keep_aspect", "valid"),
    [((40, 40), False, (40, 40)), ((40, 40), True, (27, 40)), ((120, 120), True, (80, 120))],
)
def test_resize_notes_the_way_back(
    size: tuple[int, int],
    keep_aspect: bool,
    valid: tuple[int, int],
    make_clip: Callable[..., dict],
) -> None:
    clip = ResizeClip(size=size, keep_aspect=keep_aspect)(make_clip())
    assert clip["images"].shape[1:] == clip["labels"].shape[1:] == clip["input_size"] == size
    assert clip["valid_size"] == valid
    assert not clip["images"][:, valid[0] :].any()
    assert not clip["images"][:, :, valid[1] :].any()
    back = cv2.resize(
        clip["labels"][0][: valid[0], : valid[1]],
        clip["native_size"][::-1],
        interpolation=cv2.INTER_NEAREST_EXACT,
    )
    assert np.mean(back != clip["native_labels"][0]) < 0.03


def test_aspect_is_kept_in_mm(make_clip: Callable[..., dict]) -> None:
    clip = make_clip(size=(80, 40))
    clip["spacing"] = (0.154, 0.308)  # oblong pixels of the older layout: a square image
    assert ResizeClip(size=(32, 32), keep_aspect=True)(clip)["valid_size"] == (32, 32)


def test_shrinking_averages_and_does_not_shift(make_clip: Callable[..., dict]) -> None:
    clip = make_clip(size=(64, 64))
    clip["images"] = np.tile(np.array([0, 200], np.uint8), (1, 64, 32))
    columns = np.repeat(np.arange(8), 8).astype(np.uint8)
    clip["labels"] = np.tile(columns, (1, 64, 1))
    clip = ResizeClip(size=(8, 8))(clip)
    assert (clip["images"] == 100).all()
    assert np.array_equal(clip["labels"][0, 0], np.arange(8))


def test_the_size_may_come_from_the_data_set(make_clip: Callable[..., dict]) -> None:
    clip = make_clip() | {"image_size": (48, 32)}
    assert ResizeClip()(clip)["images"].shape == (3, 48, 32)
    with pytest.raises(ConfigError, match="no size"):
        ResizeClip()(make_clip())


def test_in_the_registry() -> None:
    for name in [*NAMES, "ResizeClip"]:
        assert TRANSFORMS.get(name).__module__.startswith("echozoo.")
