"""Whether one model is better than another on the same patients.

Two models that were tested on the same patients are compared patient by patient: what makes a
patient hard is hard for both, and drops out of the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from echozoo.evaluation.functional.aggregate import bootstrap_interval
from echozoo.evaluation.functional.agreement import Interval

_NAN = float("nan")
# Equal means of equal numbers, summed in another order, differ in their last digits.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference first - second over patients.

    Attributes:
        num_pairs: Patients of which both numbers are there; the others are left out.
        difference: Mean difference with its 95 % bootstrap interval over patients.
        p_value: Of Wilcoxon's signed-rank test, two-sided; NaN without a pair.
    """

    num_pairs: int
    difference: Interval
    p_value: float


def paired_difference(
    first: np.ndarray, second: np.ndarray, n_resamples: int = 2000, seed: int = 0
) -> PairedDifference:
    """Compare two models on the same patients.

    The p-value is of Wilcoxon's signed-rank test (F. Wilcoxon, Biometrics Bulletin 1945): equal
    patients are left out of it; it is exact up to 50 patients without ties, else from the normal
    approximation. Where all patients are equal it is 1.

    Args:
        first: (P,), a number a patient, NaN where there is none.
        second: (P,), of the same patients.
        n_resamples: Bootstrap resamples; 0 leaves the interval NaN.
        seed: Of the bootstrap; the order of patients does not matter.

    Returns:
        The difference; NaN without a patient that has both numbers.
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    differences = np.sort(differences[np.isfinite(differences)])  # so that no order enters
    if not len(differences):
        return PairedDifference(0, Interval(), _NAN)
    differences[np.abs(differences) < _ROUNDING] = 0
    limits = bootstrap_interval(
        differences[None], np.ones((1, len(differences))), n_resamples, seed
    )
    p_value = 1.0
    if differences.any():
        p_value = float(stats.wilcoxon(differences, zero_method="wilcox").pvalue)
    return PairedDifference(len(differences), Interval(float(differences.mean()), *limits), p_value)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p-values for their number by Holm's step-down procedure.

    Of m p-values the k-th smallest is multiplied by m - k + 1, and is at least the one before it
    (S. Holm, Scandinavian Journal of Statistics 1979). Comparing the results with 0.05 keeps the
    chance of any false finding among them at 5 %, whatever their dependence.

    Args:
        p_values: (m,); NaN stands for a test that was not made, and does not count.

    Returns:
        (m,) adjusted values, at most 1; NaN stays NaN.
    """
    adjusted = np.asarray(p_values, dtype=float).copy()
    made = np.flatnonzero(~np.isnan(adjusted))
    order = made[np.argsort(adjusted[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(adjusted[order] * factors), 1)
    return adjusted
