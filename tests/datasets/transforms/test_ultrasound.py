from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mmcv.transforms import Compose

from echozoo.datasets.transforms.ultrasound import (
    RandomBlur,
    RandomContrast,
    RandomDepthGain,
    RandomGamma,
    RandomShadow,
    RandomSpeckle,
)
from echozoo.registry import TRANSFORMS

ALL = [
    RandomGamma,
    RandomContrast,
    RandomSpeckle,
    RandomShadow,
    RandomDepthGain,
    RandomBlur,
]


def flat_clip(value: float = 100, frames: int = 8, seed: int = 0) -> dict:
    images = np.full((frames, 96, 128), value, np.float32)
    return dict(images=images, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_gray_levels_change_and_nothing_else(
    kind: type, dtype: type, make_clip: Callable[..., dict]
) -> None:
    clip, before = make_clip(), make_clip()
    clip["images"] = clip["images"].astype(dtype)
    clip = kind(prob=1)(clip)
    assert clip["images"].dtype == np.float32
    assert clip["images"].min() >= 0
    assert clip["images"].max() <= 255
    assert np.abs(clip["images"] - before["images"]).mean() > 0.5
    assert np.array_equal(clip["labels"], before["labels"])


@pytest.mark.parametrize("kind", ALL)
def test_seeded_by_the_clip_alone(kind: type, make_clip: Callable[..., dict]) -> None:
    first, again, other = (kind(prob=1)(make_clip(seed))["images"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "kind", [RandomGamma, RandomSpeckle, RandomShadow, RandomDepthGain, RandomBlur]
)
def test_black_stays_black(kind: type) -> None:
    assert not kind(prob=1)(flat_clip(0))["images"].any()


@pytest.mark.parametrize("kind", [RandomGamma, RandomContrast, RandomDepthGain, RandomBlur])
def test_one_draw_for_all_frames(kind: type, make_clip: Callable[..., dict]) -> None:
    images = kind(prob=1)(make_clip())["images"]
    assert (images == images[0]).all()


def test_gamma_is_the_published_formula(make_clip: Callable[..., dict]) -> None:
    as_bytes = RandomGamma((2.0, 2.0), prob=1)(make_clip())["images"]
    clip = make_clip()
    clip["images"] = clip["images"].astype(np.float32)
    as_floats = RandomGamma((2.0, 2.0), prob=1)(clip)["images"]
    wanted = 255 * np.sqrt(make_clip()["images"] / 255)
    np.testing.assert_allclose(as_bytes, wanted, rtol=1e-5)
    np.testing.assert_allclose(as_floats, wanted, rtol=1e-5)


def test_gamma_of_a_clip_is_that_of_its_frames(make_clip: Callable[..., dict]) -> None:
    images = np.random.default_rng(5).integers(0, 256, (3, 60, 90), np.uint8)
    whole = RandomGamma(prob=1)({**make_clip(), "images": images})["images"]
    for frame, wanted in zip(images, whole, strict=True):
        alone = RandomGamma(prob=1)({**make_clip(), "images": frame[None]})["images"]
        assert np.array_equal(alone[0], wanted)


def test_contrast_turns_about_the_mean() -> None:
    clip = flat_clip()
    clip["images"][:, :48] = 140
    images = RandomContrast((1.5, 1.5), prob=1)(clip)["images"]
    assert np.unique(images).tolist() == [90, 150]


def test_speckle_has_the_strength_asked_for_and_is_correlated() -> None:
    images = RandomSpeckle((0.2, 0.2), prob=1)(flat_clip())["images"]
    assert images.mean() == pytest.approx(100, abs=1)
    assert images.std() == pytest.approx(20, rel=0.1)
    noise = (images - images.mean()) / images.std()
    across = (noise[:, :, 1:] * noise[:, :, :-1]).mean()
    along = (noise[:, 1:] * noise[:, :-1]).mean()
    assert across > along > 0.4
    assert abs((noise[1:] * noise[:-1]).mean()) < 0.05  # frames are independent


def test_a_shadow_is_a_sector_below_the_transducer() -> None:
    clip = flat_clip(frames=1)
    shadow = 100 - RandomShadow((0.8, 0.8), (10, 10), reach=0, prob=1)(clip)["images"][0]
    assert shadow.max() == pytest.approx(80, abs=0.5)
    upper, lower = (np.count_nonzero(shadow[row] > 40) for row in (30, 90))
    assert lower == pytest.approx(3 * upper, abs=2)  # it widens with depth
    assert shadow[50].argmax() in (63, 64)
    assert shadow[90, 0] < 1


def test_shadows_stay_or_come_and_go() -> None:
    def darkness(seed: int) -> np.ndarray:
        images = RandomShadow((0.8, 0.8), prob=1)(flat_clip(seed=seed))["images"]
        return 100 - images.min(axis=(1, 2))

    depths = np.array([darkness(seed) for seed in range(20)])
    assert depths.max(axis=1) == pytest.approx(80, abs=1)
    passing = depths.min(axis=1) < 40
    assert 4 <= np.count_nonzero(passing) <= 16
    assert depths[~passing].min() > 40


def test_depth_gain_follows_depth_alone() -> None:
    images = RandomDepthGain(prob=1)(flat_clip())["images"][0]
    assert images[:, 63] == pytest.approx(images[:, 64])
    assert images.min() >= 60 - 1e-3
    assert images.max() <= 160 + 1e-3
    # The same distance from the transducer, straight down and to the side.
    assert images[60, 64] == pytest.approx(images[0, 64 + 60], abs=1)


def test_the_published_recipe(make_clip: Callable[..., dict]) -> None:
    """Published SAMUS: each with chance 0.5, in this order, and the resize at the end."""
    recipe = [
        dict(type="RandomGamma", gamma=(1.0, 2.4), prob=0.5),
        dict(type="RandomRotate", degrees=30, prob=0.5),
        dict(type="RandomScaleCrop", scale=(1.0, 1.3), prob=0.5),
        dict(type="RandomContrast", contrast=(0.8, 2.0), prob=0.5),
        dict(type="ResizeClip", size=(64, 64)),
        dict(type="PointPrompts", rule="random"),
        dict(type="PackClip"),
    ]
    pipeline = Compose([TRANSFORMS.build(step) for step in recipe])
    seen = {pipeline(make_clip(seed))["inputs"].numpy().tobytes() for seed in range(12)}
    assert len(seen) >= 9  # all four are left out in one clip of sixteen
    packed = pipeline(make_clip(1))
    assert packed["inputs"].shape == (3, 1, 64, 64)
    sample = packed["data_samples"]
    assert set(sample.gt_labels.unique().tolist()) == {0, 1, 2, 3}
    for t, k in np.ndindex(3, 3):
        x, y = sample.points[t, k, 0].long()
        assert sample.gt_labels[t, y, x] == k + 1


def test_blur_is_wider_across_the_beams() -> None:
    clip = flat_clip(0)
    clip["images"][:, 48, 64] = 255
    images = RandomBlur(sigma=(1.0, 1.0), aspect=2.0, prob=1)(clip)["images"]
    assert images.sum() == pytest.approx(8 * 255, rel=0.01)
    y, x = np.mgrid[:96, :128]
    spread = [np.average(d**2, weights=images[0]) ** 0.5 for d in (y - 48, x - 64)]
    assert spread == pytest.approx([1.0, 2.0], rel=0.05)
