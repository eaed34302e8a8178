"""The generated heart: volumes, masks, motion. Geometry only, no ultrasound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from echozoo.phantom.anatomy import beat, contraction, draw_ventricle
from echozoo.phantom.chambers import draw_chambers, fill, label_maps, picture_shape
from echozoo.phantom.patients import VIEWS, PhantomOptions, draw_patient

OPTIONS = PhantomOptions(patients=60, seed=0)
AROUND = np.ones((3, 3), bool)


def chambers_of(number: int, view: str, frames: int = 2):
    """The outlines that `write_patient` films: the same draws in the same order."""
    ventricle, _ = draw_patient(number, OPTIONS)
    rng = np.random.default_rng([OPTIONS.seed, number, VIEWS.index(view)])
    return draw_chambers(beat(ventricle, frames), view, rng)


def masks_of(number: int, view: str, frames: int = 2) -> np.ndarray:
    chambers = chambers_of(number, view, frames)
    return label_maps(chambers, picture_shape(chambers.depth, OPTIONS.spacing), OPTIONS.spacing)


def axis_and_diameters(labels: np.ndarray, spacing: float) -> tuple[float, np.ndarray]:
    """Long axis from the mitral ring to the apex, and the widths at 20 disk centres, in mm."""
    cavity = labels == 1
    ring = cavity & ndimage.binary_dilation(labels == 2, AROUND, iterations=2)
    ring &= ndimage.binary_dilation(labels == 3, AROUND, iterations=2)
    points = np.argwhere(ring).astype(float)
    right = points[:, 1] > points[:, 1].mean()
    middle = (points[right].mean(0) + points[~right].mean(0)) / 2
    inside = np.argwhere(cavity)
    apex = inside[np.argmax(np.linalg.norm(inside - middle, axis=1))]
    length = np.linalg.norm(apex - middle)
    along = (apex - middle) / length
    across = np.array([along[1], -along[0]])
    reach = np.arange(-150, 150, 0.2)
    centres = middle + np.outer((np.arange(20) + 0.5) / 20 * length, along)
    at = centres[:, None] + reach[:, None] * across  # (20, n, 2)
    hit = ndimage.map_coordinates(cavity.astype(float), at.transpose(2, 0, 1), order=0)
    return (length + 0.5) * spacing, hit.sum(1) * 0.2 * spacing


def simpson(two: np.ndarray, four: np.ndarray, spacing: float) -> float:
    """Biplane volume in ml, the longer axis of the two views as the height of the stack."""
    length2, width2 = axis_and_diameters(two, spacing)
    length4, width4 = axis_and_diameters(four, spacing)
    return np.pi / 4 * np.sum(width2 * width4) * max(length2, length4) / 20 / 1000


@pytest.mark.parametrize("first", [1, 16, 31, 46])
def test_ejection_fraction_of_masks_is_that_of_the_ventricle(first: int) -> None:
    for number in range(first, first + 15):
        ventricle, _ = draw_patient(number, OPTIONS)
        two, four = (masks_of(number, view) for view in VIEWS)
        edv, esv = (simpson(two[k], four[k], OPTIONS.spacing) for k in (0, -1))
        ef = 100 * (edv - esv) / edv
        assert ef == pytest.approx(round(ventricle.ejection_fraction), abs=2), number
        assert edv == pytest.approx(ventricle.edv, rel=0.05), number
        assert esv == pytest.approx(ventricle.esv, rel=0.07), number


def test_volumes_are_plausible_and_differ() -> None:
    hearts = [draw_ventricle(np.random.default_rng(seed)) for seed in range(300)]
    edv = np.array([heart.edv for heart in hearts])
    ef = np.array([heart.ejection_fraction for heart in hearts])
    assert edv.min() >= 70
    assert edv.max() <= 200
    assert edv.std() > 15
    assert ef.min() >= 25 - 1e-9
    assert ef.max() <= 70 + 1e-9
    assert ef.std() > 7
    for heart in hearts:
        assert 55 < heart.length_ed < 110
        assert 0.7 < heart.length_es / heart.length_ed < 0.97


@pytest.mark.parametrize("number", range(1, 13))
@pytest.mark.parametrize("view", VIEWS)
def test_ed_is_largest_es_smallest_and_motion_is_monotone(number: int, view: str) -> None:
    areas = (masks_of(number, view, frames=24) == 1).sum((1, 2))
    assert areas.argmax() == 0
    assert areas.argmin() == len(areas) - 1
    # The border of a mask jumps by whole pixels: allow that, not more.
    assert np.all(np.diff(areas) <= 0.002 * areas[0])


@pytest.mark.parametrize("number", range(1, 13))
@pytest.mark.parametrize("view", VIEWS)
def test_masks_are_whole(number: int, view: str) -> None:
    for labels in masks_of(number, view):
        assert set(np.unique(labels)) == {0, 1, 2, 3}
        for k in (1, 2, 3):
            assert ndimage.label(labels == k)[1] == 1
        cavity = labels == 1
        rim = labels[ndimage.binary_dilation(cavity, AROUND) & ~cavity]
        assert np.mean(rim == 0) < 0.01
        rows, mitral_rows = np.nonzero(cavity)[0], np.nonzero(labels == 3)[0]
        assert mitral_rows.min() > rows.min() + 0.8 * np.ptp(rows)
        assert not cavity[[0, -1]].any()
        assert not cavity[:, [0, -1]].any()


def test_wall_thickens_and_keeps_its_volume() -> None:
    for seed in range(20):
        heart = draw_ventricle(np.random.default_rng(seed))
        course = beat(heart, 12)
        assert np.all(np.diff(course.wall) > 0)
        diameters = course.widths.sum(2)
        outer = diameters + 2 * course.wall[:, None, None]
        area = (outer[:, 0] * outer[:, 1] - diameters[:, 0] * diameters[:, 1]).mean(1)
        # Not weighted by position, so only about.
        assert (area * course.length)[-1] == pytest.approx((area * course.length)[0], rel=0.1)


def test_base_descends_and_atrium_fills() -> None:
    for number in range(1, 9):
        chambers = chambers_of(number, "4CH")
        ring = (chambers.endo[:, 0] + chambers.endo[:, -1])[:, 1] / 2
        apex = chambers.endo[..., 1].min(1)
        assert ring[0] - ring[1] > 3 * abs(apex[1] - apex[0])
        area = (masks_of(number, "4CH") == 3).sum((1, 2))
        assert area[1] > area[0]


def test_views_share_the_long_axis() -> None:
    for number in range(1, 9):
        lengths = [axis_and_diameters(masks_of(number, view)[0], 0.6)[0] for view in VIEWS]
        assert lengths[0] == pytest.approx(lengths[1], abs=3)


def test_contraction_never_stands_still() -> None:
    phase = contraction(24)
    assert phase[0] == 0
    assert phase[-1] == pytest.approx(1)
    assert np.diff(phase).min() > 0.015


def test_fill_takes_pixels_whose_centre_is_inside() -> None:
    # 4 x 3 mm from the sector's tip, in a picture 7 pixels wide whose middle column is x = 0.
    box = np.array([[-1.6, 0.9], [2.4, 0.9], [2.4, 3.9], [-1.6, 3.9]])
    mask = fill(box, (6, 7), 1.0)
    expected = np.zeros((6, 7), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(mask, expected)
