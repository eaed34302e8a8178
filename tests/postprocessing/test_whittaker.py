from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from echozoo.errors import ConfigError
from echozoo.postprocessing import whittaker
from echozoo.postprocessing.whittaker import WhittakerSmoother, smoothing_matrix

VALUES = {"lv": 1, "myo": 2, "la": 7}


def dense(weight: float, frames: int) -> np.ndarray:
    """The closed form as it is written: (I + w D'D)^-1."""
    differences = np.zeros((frames - 2, frames))
    for row in range(frames - 2):
        differences[row, row : row + 3] = -0.5, 1.0, -0.5
    return np.linalg.inv(np.eye(frames) + weight * differences.T @ differences)


def rings(radii: np.ndarray, size: int = 60) -> np.ndarray:
    """Cavities with a wall of five pixels around, (T, H, W)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(y, x)
    radii = np.asarray(radii, float)[:, None, None]
    return (distance < radii) + 2 * ((distance >= radii) & (distance < radii + 5)).astype(np.uint8)


def smooth(labels: np.ndarray, pinned=(), spacing=None, **options) -> np.ndarray:
    return np.stack(list(WhittakerSmoother(**options)(labels, VALUES, spacing, pinned)))


def areas(labels: np.ndarray) -> np.ndarray:
    return (labels == 1).sum((1, 2))


@pytest.mark.parametrize("frames", [3, 4, 5, 24])
@pytest.mark.parametrize("weight", [0.0, 1.0, 64.0, 5000.0])
def test_the_banded_solution_is_the_closed_form(frames, weight):
    everywhere, nowhere = np.ones(frames, bool), np.zeros(frames, bool)
    found = smoothing_matrix(weight, everywhere, nowhere)
    np.testing.assert_allclose(found, dense(weight, frames), atol=1e-9)


def test_pinned_values_are_the_minimum_under_that_condition():
    rng = np.random.default_rng(0)
    values, fixed, w = rng.normal(size=12), np.zeros(12, bool), 30.0
    fixed[[0, 5, 11]] = True
    found = smoothing_matrix(w, np.ones(12, bool), fixed) @ values
    differences = np.diff(np.eye(12), 2, axis=0) / 2
    system = np.eye(12) + w * differences.T @ differences
    expected = values.copy()
    free = ~fixed
    rest = values[free] - system[np.ix_(free, fixed)] @ values[fixed]
    expected[free] = np.linalg.solve(system[np.ix_(free, free)], rest)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_values_that_are_not_there_have_no_say():
    there = np.ones(9, bool)
    there[4] = False
    matrix = smoothing_matrix(10.0, there, np.zeros(9, bool))
    assert not matrix[:, 4].any()
    np.testing.assert_allclose(matrix @ np.where(there, np.arange(9.0), 9), np.arange(9), atol=1e-9)


def test_labels_are_those_of_the_largest_smoothed_distance():
    rng = np.random.default_rng(1)
    labels = rings(14 + rng.normal(size=11) * 1.5)
    regions = []
    for mask in (labels == 0, labels == 1, labels > 0):
        inside = np.stack([distance_transform_edt(np.pad(m, 30, mode="edge")) for m in mask])
        outside = np.stack([distance_transform_edt(~np.pad(m, 30, mode="edge")) for m in mask])
        s = np.where(mask, inside[:, 30:-30, 30:-30] - 0.5, 0.5 - outside[:, 30:-30, 30:-30])
        regions.append(np.tensordot(dense(64.0, 11), s, axes=1))
    background, cavity, heart = regions
    expected = np.argmax([background, cavity, np.minimum(heart, -cavity)], axis=0)
    ours = smooth(labels, weight=64.0)
    # The image's edge is an edge of the background for us: that is far from any outline.
    np.testing.assert_array_equal(ours, expected)
    assert (ours != labels).any()


def test_constant_speed_costs_nothing_and_a_beat_next_to_nothing():
    steady = rings(np.arange(10, 22))
    np.testing.assert_array_equal(smooth(steady), steady)
    beat = rings(15 + 5 * np.cos(np.linspace(0, 2 * np.pi, 23)))
    change = 1 - areas(smooth(beat)).min() / areas(smooth(beat)).max()
    assert change == pytest.approx(1 - areas(beat).min() / areas(beat).max(), abs=0.02)


def test_flicker_goes():
    rng = np.random.default_rng(2)
    radii = np.linspace(18, 12, 24)
    noisy = rings(radii + rng.normal(size=24))
    errors = [
        np.abs(areas(one) - areas(rings(radii)))[2:-2].mean() for one in (noisy, smooth(noisy))
    ]
    assert errors[1] < errors[0] / 2


def test_pinned_frames_stay_and_pull_their_neighbours():
    labels = rings([15, 15, 15, 15, 19, 15, 15, 15, 15])
    free, held = smooth(labels), smooth(labels, pinned=[4])
    np.testing.assert_array_equal(held[4], labels[4])
    assert areas(free)[4] < areas(labels)[4]
    assert areas(held)[3] > areas(free)[3]


def test_a_lost_structure_comes_back_where_the_gap_is_short():
    labels = rings(np.full(12, 14))
    labels[4][labels[4] == 1] = 0
    labels[9:][labels[9:] == 2] = 0  # gone for good
    found = smooth(labels)
    np.testing.assert_array_equal(found[4], found[5])
    assert not (found[9:] == 2).any()
    assert not (smooth(labels, longest_gap=0)[4] == 1).any()
    assert not (smooth(labels, pinned=[4])[4] == 1).any(), "a person saw none there"


def test_blocks_of_a_long_film_are_the_film(monkeypatch):
    rng = np.random.default_rng(3)
    labels = rings(10 + 3 * np.sin(np.arange(150) / 7) + rng.normal(size=150) * 0.7, 36)
    in_blocks = smooth(labels)
    monkeypatch.setattr(whittaker, "_FRAMES", 150)
    np.testing.assert_array_equal(in_blocks, smooth(labels))


def test_distances_are_of_the_heart_not_of_the_grid():
    rng = np.random.default_rng(4)
    tall = np.repeat(rings(12 + rng.normal(size=9), 40), 2, axis=1)  # pixels half as high
    isotropic = smooth(tall, spacing=(1.0, 1.0))
    assert (smooth(tall, spacing=(0.5, 1.0)) != isotropic).any()
    np.testing.assert_array_equal(smooth(tall, spacing=(3.0, 3.0)), isotropic)


@pytest.mark.parametrize("frames", [1, 2])
def test_what_is_no_film_stays(frames):
    labels = rings([14, 9])[:frames]
    np.testing.assert_array_equal(smooth(labels), labels)


def test_empty_films_and_structures_at_the_edge_of_the_image():
    nothing = np.zeros((5, 8, 9), np.uint8)
    np.testing.assert_array_equal(smooth(nothing), nothing)
    everything = np.full((5, 8, 9), 7, np.uint8)
    np.testing.assert_array_equal(smooth(everything), everything)


@pytest.mark.parametrize("option", [dict(weight=-1.0), dict(longest_gap=-1)])
def test_negative_options_are_refused(option):
    with pytest.raises(ConfigError, match=f"{next(iter(option))}=-1"):
        WhittakerSmoother(**option)
