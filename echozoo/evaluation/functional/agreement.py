"""How well two ways of measuring the same thing agree, with 95 % intervals.

Correlation tells whether patients keep their order, not whether the numbers are equal; bias and
limits of agreement (J. M. Bland, D. G. Altman, Lancet 1986) do. Papers on CAMUS call different
things "bias" and "std": here bias is the mean of measured - reference with its sign, SD that of the
differences, and the mean of the absolute differences is MAE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from echozoo.evaluation.functional.aggregate import CONFIDENCE, bootstrap_interval

_NAN = float("nan")
_TAIL = (1 + CONFIDENCE) / 2


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % interval; NaN where undefined."""

    value: float = _NAN
    low: float = _NAN
    high: float = _NAN


@dataclass(frozen=True)
class Agreement:
    """Statistics of differences measured - reference, in the unit of the numbers (r has none).

    Attributes:
        num_pairs: Pairs of which both numbers are there; the others are left out.
        pearson_r: Pearson's correlation; NaN below three pairs, or where one side is constant.
        bias: Mean difference.
        sd: Standard deviation of the differences (n - 1); NaN below two pairs.
        loa_low: Lower limit of agreement, bias - 1.96 SD.
        loa_high: Upper limit of agreement, bias + 1.96 SD.
        mae: Mean absolute difference.
    """

    num_pairs: int
    pearson_r: Interval
    bias: Interval
    sd: Interval
    loa_low: Interval
    loa_high: Interval
    mae: Interval


def agreement(
    measured: np.ndarray, reference: np.ndarray, n_resamples: int = 2000, seed: int = 0
) -> Agreement:
    """Compare paired measurements, one pair a patient.

    Intervals are analytic: Fisher's z for r (four pairs or more), Student's t for the bias, chi
    squared for SD, Bland and Altman's approximation for the limits; MAE is bootstrapped.

    Args:
        measured: (n,), NaN where there is no number.
        reference: (n,), likewise.
        n_resamples: Bootstrap resamples; 0 leaves the interval of MAE NaN.
        seed: Of the bootstrap.

    Returns:
        The statistics; NaN where there are too few pairs for them.
    """
    measured, reference = (np.asarray(side, dtype=float) for side in (measured, reference))
    known = np.isfinite(measured) & np.isfinite(reference)
    measured, reference = measured[known], reference[known]
    count = len(measured)
    if count == 0:
        return Agreement(0, *[Interval()] * 6)
    differences = measured - reference
    bias = float(differences.mean())
    sd = float(differences.std(ddof=1)) if count > 1 else _NAN
    t, z = stats.t.ppf(_TAIL, count - 1) if count > 1 else _NAN, stats.norm.ppf(_TAIL)
    # The variance of bias +- z SD is that of the mean and z^2 times that of SD.
    limit_error = t * sd * np.sqrt(1 / count + z**2 / (2 * max(count - 1, 1)))
    return Agreement(
        num_pairs=count,
        pearson_r=_correlation(measured, reference),
        bias=_around(bias, t * sd / np.sqrt(count)),
        sd=_deviation(sd, count),
        loa_low=_around(bias - z * sd, limit_error),
        loa_high=_around(bias + z * sd, limit_error),
        mae=_mean_absolute(differences, n_resamples, seed),
    )


def _around(value: float, error: float) -> Interval:
    return Interval(float(value), float(value - error), float(value + error))


def _correlation(measured: np.ndarray, reference: np.ndarray) -> Interval:
    if len(measured) < 3 or np.ptp(measured) == 0 or np.ptp(reference) == 0:
        return Interval()
    r = float(np.clip(np.corrcoef(measured, reference)[0, 1], -1, 1))
    if len(measured) < 4:
        return Interval(r)
    with np.errstate(divide="ignore"):
        z = np.arctanh(r)
    error = stats.norm.ppf(_TAIL) / np.sqrt(len(measured) - 3)
    return Interval(r, float(np.tanh(z - error)), float(np.tanh(z + error)))


def _deviation(sd: float, count: int) -> Interval:
    if count < 2:
        return Interval()
    limits = sd * np.sqrt((count - 1) / stats.chi2.ppf([_TAIL, 1 - _TAIL], count - 1))
    return Interval(sd, float(limits[0]), float(limits[1]))


def _mean_absolute(differences: np.ndarray, n_resamples: int, seed: int) -> Interval:
    sizes = np.sort(np.abs(differences))[None]  # (1, n): sorted, so that no order enters
    interval = bootstrap_interval(sizes, np.ones_like(sizes), n_resamples, seed)
    return Interval(float(sizes.mean()), *interval)
