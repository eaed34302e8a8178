from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from echozoo.evaluation.functional.paired import holm, paired_difference

NAN = float("nan")


def test_all_patients_better_has_the_exact_p_of_a_coin_thrown_as_often() -> None:
    second = np.array([0.80, 0.85, 0.90, 0.70, 0.60, 0.75])
    first = second + np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    found = paired_difference(first, second)
    assert found.num_pairs == 6
    assert found.difference.value == pytest.approx(0.035)
    assert found.p_value == pytest.approx(2 / 2**6)
    assert 0.01 < found.difference.low < 0.035 < found.difference.high < 0.06


def test_exact_p_by_counting_sign_patterns() -> None:
    differences = np.array([3.0, -1.0, 4.0, 2.0, -5.0, 7.0, 6.0])
    ranks = stats.rankdata(np.abs(differences))
    observed = ranks[differences > 0].sum()
    signs = (np.arange(2**7)[:, None] >> np.arange(7)) & 1
    sums = signs @ ranks
    middle = ranks.sum() / 2
    wanted = (np.abs(sums - middle) >= abs(observed - middle)).mean()
    assert paired_difference(differences, np.zeros(7)).p_value == pytest.approx(wanted)


def test_published_example() -> None:
    # Pairs of M. Hollander, D. A. Wolfe, Nonparametric Statistical Methods, example 3.1.
    first = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    second = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    found = paired_difference(first, second)
    assert found.p_value == pytest.approx(2 * 0.0195, abs=1e-4)
    assert found.difference.value == pytest.approx(np.mean(first - second))


def test_patients_without_both_numbers_are_left_out_and_order_does_not_matter() -> None:
    first = np.array([0.9, NAN, 0.8, 0.7, 0.95])
    second = np.array([0.8, 0.5, NAN, 0.75, 0.85])
    found = paired_difference(first, second)
    assert found.num_pairs == 3
    assert found.difference.value == pytest.approx((0.1 - 0.05 + 0.1) / 3)
    assert paired_difference(first[::-1], second[::-1]) == found


def test_equal_models_differ_by_nothing() -> None:
    values = np.array([0.1, 0.2, 0.3]) * 3
    found = paired_difference(values, np.array([0.3, 0.6, 0.9]))
    assert (found.difference.value, found.p_value) == (0.0, 1.0)
    none = paired_difference(np.array([NAN]), np.array([1.0]))
    assert none.num_pairs == 0
    assert np.isnan([none.p_value, none.difference.value, none.difference.low]).all()


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.5: times 4, 3, 2, 1, none below the one before it.
    assert holm([0.03, 0.01, NAN, 0.5, 0.02]) == pytest.approx(
        [0.06, 0.04, NAN, 0.5, 0.06], nan_ok=True
    )
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == pytest.approx([0.04])
    assert len(holm([])) == 0


def test_holm_keeps_false_findings_at_one_in_twenty() -> None:
    rng = np.random.default_rng(0)
    families = rng.uniform(size=(2000, 8))
    wrong = np.mean([(holm(family) < 0.05).any() for family in families])
    assert 0.03 < wrong < 0.07
