from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.path import Path

from echozoo.evaluation.functional.courses import area_change, course, jitter, roughness
from echozoo.evaluation.functional.courses import signed_distances as distances


def circle(radius: float, centre: tuple[float, float] = (0.0, 0.0), points: int = 200):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + centre


def test_distances_from_a_circle_are_known():
    points = np.random.default_rng(0).uniform(-15, 15, (300, 2))
    wanted = 10 - np.linalg.norm(points, axis=1)
    np.testing.assert_allclose(distances(points, circle(10, points=2000)), wanted, atol=1e-4)
    backwards = circle(10, points=2000)[::-1]
    np.testing.assert_allclose(distances(points, backwards), wanted, atol=1e-4)


def test_inside_is_inside_of_any_shape():
    rng = np.random.default_rng(1)
    star = circle(1, points=40) * rng.uniform(2, 9, 40)[:, None]
    points = rng.uniform(-9, 9, (500, 2))
    np.testing.assert_array_equal(distances(points, star) > 0, Path(star).contains_points(points))


def test_constant_speed_has_no_jitter_and_no_roughness():
    assert jitter([circle(r) for r in (10, 11, 12, 13)]) == pytest.approx(0, abs=1e-3)
    assert roughness(np.arange(10.0, 30, 2)) == 0


def test_jitter_is_the_distance_from_half_way():
    # A circle that jumps by one between two that rest.
    assert jitter([circle(10), circle(11), circle(10)]) == pytest.approx(1, abs=0.01)
    assert math.isnan(jitter([circle(5), circle(5), None, circle(9), circle(9)]))
    assert math.isnan(jitter([circle(5), None, circle(5)]))
    assert math.isnan(jitter([circle(5)] * 2))


def test_roughness_is_a_share_of_the_mean_area():
    assert roughness(np.array([10.0, 12, 10, 12, 10])) == pytest.approx(100 * 2 / 10.8)
    assert roughness(np.array([10.0, np.nan, 10, 12, 10])) == pytest.approx(100 * 2 / 10.5)
    assert math.isnan(roughness(np.array([1.0, 2.0])))


def test_area_change_keeps_its_sign():
    assert area_change(40.0, 30.0) == 25
    assert area_change(30.0, 36.0) == pytest.approx(-20)
    assert math.isnan(area_change(0.0, 3.0))
    found = course(np.array([40.0, 35, 30]), [None] * 3, (2, 0))
    assert found.area_change_percent == pytest.approx(-100 / 3)
    assert math.isnan(course(np.array([40.0, 30]), [None] * 2).area_change_percent)
