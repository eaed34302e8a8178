from __future__ import annotations

import math

import numpy as np
import pytest

from echozoo.evaluation.functional.geometry import area_cm2, area_length_volume, measure_frame

SPACING = (0.4, 0.6)


def heart(spacing: tuple[float, float] = SPACING) -> np.ndarray:
    """Label map of half an ellipse with a wall, and an atrium that is an ellipse below it, in mm.

    LV 60 long and 40 wide at its flat base, wall 10 thick, atrium 40 long and 34 wide.
    """
    y, x = np.mgrid[: int(140 / spacing[0]), : int(110 / spacing[1])].astype(float)
    y, x = y * spacing[0] - 80, x * spacing[1] - 55
    labels = np.zeros(y.shape, np.uint8)
    above = y <= 0
    labels[((y / 70) ** 2 + (x / 30) ** 2 <= 1) & above] = 2
    labels[((y / 60) ** 2 + (x / 20) ** 2 <= 1) & above] = 1
    labels[((y - 20) / 20) ** 2 + (x / 17) ** 2 <= 1] = 3
    return labels


def test_lengths_areas_and_volumes_of_a_known_heart() -> None:
    found = measure_frame(heart(), SPACING)
    assert found.lv_area_cm2 == pytest.approx(np.pi / 2 * 6 * 2, rel=0.01)
    assert found.myo_area_cm2 == pytest.approx(np.pi / 2 * (7 * 3 - 6 * 2), rel=0.01)
    assert found.la_area_cm2 == pytest.approx(np.pi * 2 * 1.7, rel=0.01)
    assert found.lv_length_mm == pytest.approx(60, rel=0.01)
    assert found.lv_base_width_mm == pytest.approx(40, rel=0.03)
    assert found.la_length_mm == pytest.approx(40, rel=0.02)
    assert found.lv_volume_ml == pytest.approx(np.pi * 2 / 3 * 6 * 2**2, rel=0.01)
    assert found.la_volume_ml == pytest.approx(np.pi / 6 * 4 * 3.4**2, rel=0.02)


def test_the_measures_do_not_depend_on_how_the_heart_lies() -> None:
    upright = measure_frame(heart(), SPACING)
    turned = measure_frame(np.ascontiguousarray(np.rot90(heart())), SPACING[::-1])
    assert tuple(turned) == pytest.approx(tuple(upright), rel=0.02)


def test_what_is_absent_is_nan_and_the_rest_is_measured() -> None:
    labels = heart()
    labels[labels != 1] = 0
    found = measure_frame(labels, SPACING)
    assert found.lv_volume_ml > 0
    assert np.isnan([found.myo_area_cm2, found.la_area_cm2, found.la_length_mm]).all()
    without_lv = heart()
    without_lv[without_lv == 1] = 0
    found = measure_frame(without_lv, SPACING)
    assert found.la_area_cm2 > 0
    lost = [found.lv_area_cm2, found.lv_length_mm, found.la_length_mm, found.la_volume_ml]
    assert np.isnan(lost).all()
    assert np.isnan(measure_frame(np.zeros((50, 60), np.uint8), SPACING)).all()


def test_areas_count_pixels() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:20, :30] = True
    assert area_cm2(mask, (0.5, 2)) == 6
    assert math.isnan(area_cm2(mask[:4], (0.5, 1)))


def test_area_length_is_exact_for_an_ellipsoid_and_takes_the_shorter_length() -> None:
    areas = np.pi / 4 * 6 * 4, np.pi / 4 * 6 * 3
    assert area_length_volume(areas, (60, 60)) == pytest.approx(np.pi / 6 * 6 * 4 * 3)
    assert area_length_volume(areas, (60, 50)) == pytest.approx(np.pi / 6 * 6 * 4 * 3 * 6 / 5)
    assert math.isnan(area_length_volume(areas, (60, math.nan)))
