from __future__ import annotations

import math

import numpy as np
import pytest

from echozoo.errors import DataError
from echozoo.evaluation.functional.temporal import (
    Limit,
    derive_limits,
    judge,
    neighbour_errors,
)

NAN = math.nan
AREA, ANGLE, LENGTH = "lv_area_cm2", "lv_orientation_deg", "lv_length_mm"


def by_hand(values, low: float, high: float) -> list[float]:
    """The published formula, frame by frame."""
    scaled = [(value - low) / (high - low) for value in values]
    errors = [0.0] * len(scaled)
    for t in range(1, len(scaled) - 1):
        errors[t] = scaled[t] - (scaled[t - 1] + scaled[t + 1]) / 2
    return errors


def test_errors_are_those_of_the_published_formula() -> None:
    values = np.random.default_rng(0).normal(30, 8, 25)
    found = neighbour_errors(values, (9.3, 53.3))
    assert found == pytest.approx(by_hand(values, 9.3, 53.3), abs=1e-12)
    assert neighbour_errors(-values / 10, (-5, 1), period=180) == pytest.approx(
        by_hand(-values / 10, -5, 1), abs=1e-12
    )


def test_one_frame_that_jumps_disturbs_its_neighbours_by_half() -> None:
    errors = neighbour_errors(np.array([20, 20, 24, 20, 20.0]), (10, 50))
    assert errors == pytest.approx([0, -0.05, 0.1, -0.05, 0])
    strict = judge({AREA: np.array([20, 20, 24, 20, 20.0])}, {AREA: Limit(10, 50, 0.05)})
    assert strict.inconsistent[AREA].tolist() == [False, False, True, False, False]
    assert strict.ratios[AREA] == pytest.approx([0, 1, 2, 1, 0])
    assert strict.error_to_threshold == pytest.approx(4 / 5)
    loose = judge({AREA: np.array([20, 20, 24, 20, 20.0])}, {AREA: Limit(10, 50, 0.04)})
    assert loose.inconsistent[AREA].tolist() == [False, True, True, True, False]


def test_the_threshold_itself_is_allowed() -> None:
    film = {AREA: np.array([0, 0.5, 0.0])}
    assert not judge(film, {AREA: Limit(0, 1, 0.5)}).frames.any()
    assert judge(film, {AREA: Limit(0, 1, 0.5 - 1e-12)}).frames.tolist() == [False, True, False]


def test_a_motion_of_constant_speed_is_consistent() -> None:
    film = {AREA: np.linspace(50, 10, 15), ANGLE: np.linspace(80, 136, 15)}
    film[ANGLE] = (film[ANGLE] + 90) % 180 - 90  # it passes the horizontal on its way
    assert (np.abs(np.diff(film[ANGLE])) > 90).any()
    found = judge(film, {AREA: Limit(10, 50, 1e-9), ANGLE: Limit(-18, 40, 1e-9)})
    assert not found.frames.any()
    assert found.error_to_threshold < 1e-3


def test_angles_differ_by_the_shorter_way() -> None:
    errors = neighbour_errors(np.array([89, -89, 89, 90.0]), (-20, 20), period=180)
    # The axis turns by 2, back by 2, on by 1 degree.
    assert errors == pytest.approx([0, (2 + 2) / 2 / 40, (-2 - 1) / 2 / 40, 0])
    film = {ANGLE: np.array([89, -89, 89, 90.0]), AREA: np.array([89, -89, 89, 90.0])}
    limits = {ANGLE: Limit(-20, 20, 0.2), AREA: Limit(-20, 20, 0.2)}
    found = judge(film, limits)
    assert not found.inconsistent[ANGLE].any()
    assert found.inconsistent[AREA][1:3].all()


def test_a_failed_frame_is_inconsistent_and_its_neighbours_are_not_blamed() -> None:
    film = {AREA: np.array([20, 20, 20, NAN, 20, 30, 20.0]), LENGTH: np.full(7, 70.0)}
    found = judge(film, {AREA: Limit(10, 50, 0.05), LENGTH: Limit(46, 94, 0.05)})
    assert found.failed[AREA].tolist() == [False] * 3 + [True] + [False] * 3
    assert found.inconsistent[AREA].tolist() == [False, False, False, True, False, True, False]
    assert np.isnan(found.ratios[AREA]).tolist() == [False, False, True, True, True, False, False]
    assert not found.inconsistent[LENGTH].any()
    assert found.frames.sum() == 2
    assert found.failed_frames.sum() == 1
    # Known: 0, 0, 0.25 / 0.05, 0 of the area and seven zeros of the length.
    assert found.error_to_threshold == pytest.approx(5 / 11)


def test_ends_are_consistent_unless_they_fail() -> None:
    film = {AREA: np.array([90, 20, 20, 20, 20, 20, NAN])}
    found = judge(film, {AREA: Limit(10, 50, 0.01)})
    assert found.frames.tolist() == [False, True, False, False, False, False, True]


@pytest.mark.parametrize("length", [1, 2])
def test_a_film_without_inner_frames_shows_failures_only(length: int) -> None:
    limits = {AREA: Limit(10, 50, 0.01)}
    found = judge({AREA: np.array([20.0, 45.0][:length])}, limits)
    assert (found.frames.shape, found.frames.any()) == ((length,), False)
    assert found.error_to_threshold == 0
    failed = judge({AREA: np.full(length, NAN)}, limits)
    assert failed.frames.all()
    assert failed.failed_frames.all()
    assert math.isnan(failed.error_to_threshold)


def test_a_frame_is_inconsistent_for_any_attribute() -> None:
    film = {AREA: np.array([20, 30, 20, 20.0]), LENGTH: np.array([70, 70, 80, 70.0])}
    found = judge(film, {AREA: Limit(10, 50, 0.2), LENGTH: Limit(46, 94, 0.1)})
    assert found.inconsistent[AREA].tolist() == [False, True, False, False]
    assert found.inconsistent[LENGTH].tolist() == [False, True, True, False]
    assert found.frames.tolist() == [False, True, True, False]


def test_only_what_has_limits_is_judged() -> None:
    film = {AREA: np.array([20, 30, 20.0]), LENGTH: np.array([70, 90, 70.0])}
    found = judge(film, {LENGTH: Limit(46, 94, 0.5), ANGLE: Limit(-18, 40, 0.02)})
    assert list(found.inconsistent) == [LENGTH]
    with pytest.raises(DataError, match="no limits for lv_area_cm2, lv_length_mm"):
        judge(film, {ANGLE: Limit(-18, 40, 0.02)})


def test_limits_are_the_extremes_of_the_films_that_keep_them() -> None:
    rng = np.random.default_rng(0)
    films = [{AREA: 30 + rng.normal(0, 5, n), ANGLE: rng.normal(0, 5, n)} for n in (5, 9, 30)]
    films[1][AREA][4] = NAN
    limits = derive_limits(films)
    areas = np.concatenate([film[AREA] for film in films])
    assert limits[AREA][:2] == (np.nanmin(areas), np.nanmax(areas))
    errors = [np.abs(by_hand(film[AREA], *limits[AREA][:2])) for film in films]
    assert limits[AREA].threshold == pytest.approx(np.nanmax(np.concatenate(errors)))
    verdicts = [judge(film, limits) for film in films]
    assert [int(verdict.frames.sum()) for verdict in verdicts] == [0, 1, 0]  # the failed one
    assert max(np.nanmax(v.ratios[AREA]) for v in verdicts) == 1
    wider = derive_limits(films, margin=0.5)
    assert wider[AREA].threshold == pytest.approx(1.5 * limits[AREA].threshold)
    assert wider[AREA].tolerance == pytest.approx(1.5 * limits[AREA].tolerance)


def test_no_limits_for_what_never_moves() -> None:
    still = {AREA: np.full(5, 20.0), LENGTH: np.full(5, NAN), ANGLE: np.array([1, 2, 1, 2, 1.0])}
    assert list(derive_limits([still])) == [ANGLE]
    assert derive_limits([{AREA: np.array([20.0, 30.0])}]) == {}
    assert derive_limits([]) == {}
