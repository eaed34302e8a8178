from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from echozoo.evaluation.functional.agreement import agreement

NAN = float("nan")


def test_statistics_are_those_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(50, 12, 60)
    measured = reference + rng.normal(2, 5, 60)
    found = agreement(measured, reference, n_resamples=300)
    differences = measured - reference
    assert found.num_pairs == 60
    assert found.bias.value == pytest.approx(differences.mean())
    assert found.sd.value == pytest.approx(np.std(differences, ddof=1))
    assert found.mae.value == pytest.approx(np.abs(differences).mean())
    assert found.loa_low.value == pytest.approx(found.bias.value - 1.96 * found.sd.value, rel=1e-4)
    assert found.loa_high.value == pytest.approx(found.bias.value + 1.96 * found.sd.value, rel=1e-4)
    scipy = stats.pearsonr(measured, reference)
    low, high = scipy.confidence_interval()
    assert astuple(found.pearson_r) == pytest.approx((scipy.statistic, low, high))
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    assert (found.bias.low, found.bias.high) == pytest.approx((low, high))


def test_intervals_hold_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(1)
    truth = {"bias": 1.0, "sd": 4.0, "loa_low": 1 - 1.96 * 4, "loa_high": 1 + 1.96 * 4}
    truth["pearson_r"] = np.sqrt(100 / (100 + 16))
    truth["mae"] = stats.foldnorm.mean(0.25, scale=4)
    hits = dict.fromkeys(truth, 0)
    for _ in range(200):
        reference = rng.normal(50, 10, 40)
        found = agreement(reference + rng.normal(1, 4, 40), reference, n_resamples=200)
        for name, value in truth.items():
            interval = getattr(found, name)
            hits[name] += interval.low <= value <= interval.high
    assert all(178 <= count <= 200 for count in hits.values()), hits


def test_pairs_with_a_number_missing_are_left_out_and_order_does_not_matter() -> None:
    measured, reference = np.array([60, NAN, 55, 40, 30, 52]), np.array([58, 50, NAN, 45, 33, 50])
    found = agreement(measured, reference)
    assert found.num_pairs == 4
    assert found.bias.value == pytest.approx((2 - 5 - 3 + 2) / 4)
    assert agreement(measured[::-1], reference[::-1]) == found


@pytest.mark.parametrize(
    ("measured", "reference", "known"),
    [
        ([], [], set()),
        ([NAN, 5], [4, NAN], set()),
        ([5], [4], {"bias", "mae"}),
        ([5, 6], [4, 8], {"bias", "mae", "sd", "loa_low", "loa_high"}),
        ([5, 5, 5], [4, 8, 6], {"bias", "mae", "sd", "loa_low", "loa_high"}),
        ([5, 6, 7], [4, 8, 9], {"bias", "mae", "sd", "loa_low", "loa_high", "pearson_r"}),
    ],
)
def test_what_too_few_pairs_leave_undefined_is_nan(measured, reference, known) -> None:
    found = agreement(measured, reference, n_resamples=50)
    for name in ("pearson_r", "bias", "sd", "loa_low", "loa_high", "mae"):
        assert math.isnan(getattr(found, name).value) == (name not in known), name


def test_equal_numbers_agree_whole() -> None:
    found = agreement([40, 50, 60, 70], [40, 50, 60, 70], n_resamples=50)
    assert astuple(found.pearson_r) == pytest.approx((1, 1, 1))
    assert found.mae.value == found.sd.value == found.loa_high.high == 0
