from __future__ import annotations

import math

import numpy as np
import pytest

from echozoo.evaluation.functional import bootstrap_interval, summarise
from echozoo.evaluation.functional.aggregate import ABSENT, ALL, EMPTY, MEAN, SCORED


def row(patient="p1", view="2CH", instant="ED", structure="lv", dice=0.9, status=SCORED) -> dict:
    frame = {"ED": 0, "ES": 9}.get(instant, 5)
    return {
        "patient": patient,
        "view": view,
        "sequence": f"{patient}_{view}",
        "frame": frame,
        "instant": instant,
        "structure": structure,
        "status": status,
        "dice": dice if status == SCORED else math.nan,
    }


def summary_of(summaries, instant=ALL, view=ALL, structure="lv"):
    (found,) = (
        s for s in summaries if (s.instant, s.view, s.structure) == (instant, view, structure)
    )
    return found


def random_rows(num_patients: int = 12) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        row(f"p{p:02d}", view, instant, structure, float(rng.uniform(0.5, 1)))
        for p in range(num_patients)
        for view in ("2CH", "4CH")[: 1 + p % 2]
        for instant in ("ED", "ES", "")[: 2 + p % 2]
        for structure in ("lv", "la")
    ]


def test_means_are_over_images_by_structure_instant_and_view() -> None:
    rows = [
        row("p1", "2CH", "ED", dice=0.9),
        row("p1", "4CH", "ES", dice=0.8),
        row("p2", "4CH", "", dice=0.4),
        row("p2", "4CH", "ED", "la", dice=0.5),
    ]
    summaries = summarise(rows, ["dice"], ["lv", "la"])
    expected = {
        (ALL, ALL, "lv"): 0.7,
        (ALL, ALL, "la"): 0.5,
        (ALL, ALL, MEAN): 0.6,
        ("ED", ALL, "lv"): 0.9,
        ("ES", ALL, "lv"): 0.8,
        (ALL, "4CH", "lv"): 0.6,
        ("ED", "4CH", MEAN): 0.5,
    }
    for key, mean in expected.items():
        assert summary_of(summaries, *key).estimates["dice"].mean == pytest.approx(mean), key
    assert summary_of(summaries).num_images == 3
    assert summary_of(summaries).num_patients == 2
    assert summary_of(summaries, structure=MEAN).num_images == 4


def test_nan_is_left_out_of_the_mean_and_counted() -> None:
    rows = [row("p1", dice=0.8), row("p2", status=EMPTY), row("p3", status=ABSENT)]
    summary = summary_of(summarise(rows, ["dice"], ["lv"]))
    assert summary.estimates["dice"].mean == pytest.approx(0.8)
    assert summary.estimates["dice"].num_cases == 1
    assert (summary.num_images, summary.num_empty, summary.num_absent) == (3, 1, 1)


def test_a_structure_never_predicted_makes_the_mean_nan_one_never_labelled_does_not() -> None:
    rows = [row("p1", structure="lv", dice=0.8), row("p1", structure="la", status=EMPTY)]
    missed = summary_of(summarise(rows, ["dice"], ["lv", "la"]), structure=MEAN)
    assert math.isnan(missed.estimates["dice"].mean)
    rows[1] = row("p1", structure="la", status=ABSENT)
    absent = summary_of(summarise(rows, ["dice"], ["lv", "la"]), structure=MEAN)
    assert absent.estimates["dice"].mean == pytest.approx(0.8)


def test_a_single_view_is_not_repeated_under_its_name() -> None:
    assert {s.view for s in summarise([row()], ["dice"], ["lv"])} == {ALL}


def test_no_cases_give_nan_not_an_error() -> None:
    (summary,) = summarise([], ["dice"], [])
    assert math.isnan(summary.estimates["dice"].mean)
    assert summary.num_images == 0


def test_intervals_equal_a_loop_over_resampled_patients() -> None:
    rows = random_rows()
    interval = summary_of(summarise(rows, ["dice"], ["lv", "la"], 400, seed=5)).estimates["dice"]
    mean = summary_of(summarise(rows, ["dice"], ["lv", "la"], 400, seed=5), structure=MEAN)

    patients = sorted({r["patient"] for r in rows})
    draws = np.random.default_rng(5).integers(0, len(patients), (400, len(patients)))
    by_structure = {"lv": [], "la": []}
    for draw in draws:
        for structure, means in by_structure.items():
            values = [
                r["dice"]
                for i in draw
                for r in rows
                if r["patient"] == patients[i] and r["structure"] == structure
            ]
            means.append(np.mean(values))
    assert (interval.low, interval.high) == pytest.approx(
        np.percentile(by_structure["lv"], [2.5, 97.5])
    )
    both = (np.array(by_structure["lv"]) + by_structure["la"]) / 2
    estimate = mean.estimates["dice"]
    assert (estimate.low, estimate.high) == pytest.approx(np.percentile(both, [2.5, 97.5]))


def test_patients_are_resampled_not_images() -> None:
    # Ten images of each of four patients that agree within a patient: as images, 40 of them would
    # give an interval a third as wide.
    values = np.array([0.6, 0.7, 0.8, 0.9])
    low, high = bootstrap_interval(10 * values[None], np.full((1, 4), 10))
    assert high - low > 0.15


def test_intervals_do_not_depend_on_the_order_of_cases() -> None:
    rows = random_rows()
    one, other = (summarise(r, ["dice"], ["lv", "la"]) for r in (rows, rows[::-1]))
    assert one == other


def test_a_structure_that_a_resample_may_miss_has_no_interval() -> None:
    rows = [row("p1"), row("p2"), row("p1", structure="la")]
    estimate = summary_of(summarise(rows, ["dice"], ["lv", "la"]), structure=MEAN).estimates["dice"]
    assert estimate.mean == pytest.approx(0.9)
    assert math.isnan(estimate.low)


@pytest.mark.parametrize("rows", [[row()], [row(status=EMPTY), row("p2", status=EMPTY)]])
def test_one_patient_or_none_has_no_interval(rows: list[dict]) -> None:
    estimate = summary_of(summarise(rows, ["dice"], ["lv"])).estimates["dice"]
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_equal_patients_have_an_interval_of_no_width() -> None:
    rows = [row("p1", dice=0.75), row("p2", dice=0.75)]
    estimate = summary_of(summarise(rows, ["dice"], ["lv"])).estimates["dice"]
    assert estimate.low == estimate.high == 0.75


def test_the_interval_is_of_the_patients_that_have_a_number() -> None:
    measured = [row("p1", dice=0.7), row("p2", dice=0.8), row("p3", dice=0.9)]
    with_empty = [*measured, row("p4", status=EMPTY), row("p5", status=ABSENT)]
    expected = summary_of(summarise(measured, ["dice"], ["lv"])).estimates["dice"]
    assert summary_of(summarise(with_empty, ["dice"], ["lv"])).estimates["dice"] == expected
