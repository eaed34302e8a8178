"""From one row a case to summaries: means over images with intervals over patients.

A case is one structure in one image. Its row is a mapping with ``patient``, ``sequence``,
``frame``, ``view``, ``instant``, ``structure``, ``status`` and one number a metric. ``status`` says
whether the case can be measured: SCORED, EMPTY (the structure is there, the prediction is empty) or
ABSENT (the reference has no such structure). Metrics of the last two are NaN: they are left out of
the means and counted beside them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SCORED, EMPTY, ABSENT = "scored", "empty", "absent"
ALL = "all"
"""Where a summary does not tell instants, or views, apart."""
MEAN = "mean"
"""Names the summary over structures: the mean of their means."""
INSTANTS = ("ED", "ES")
CONFIDENCE = 0.95

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its interval over patients; NaN where undefined."""

    mean: float
    low: float
    high: float
    num_cases: int
    """How many cases have a number, and so are in the mean."""


@dataclass(frozen=True)
class Summary:
    """What the cases of one instant, view and structure come to."""

    instant: str
    view: str
    structure: str
    num_images: int
    num_patients: int
    num_empty: int
    num_absent: int
    estimates: dict[str, Estimate]


def summarise(
    rows: Sequence[Row],
    metrics: Sequence[str],
    structures: Sequence[str],
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[Summary]:
    """Summarise cases by instant (all, ED, ES), view (all and each) and structure (each and mean).

    The mean over structures leaves out a structure that no reference shows; one that references
    show and that is never measured (every prediction empty) makes it NaN, as the mean of
    what is left would flatter.

    Args:
        rows: One mapping a case.
        metrics: Names of the numbers in the rows.
        structures: Structures to report, in this order.
        n_resamples: Bootstrap resamples an interval is made of; 0 leaves intervals NaN.
        seed: Of the bootstrap; the order of rows does not matter.

    Returns:
        Summaries, the one over all instants and views first. Instants and views without a case are
        left out, and what is the only view is not repeated under its name.
    """
    # In one order, whatever processes the cases come from: sums of floats depend on it.
    rows = sorted(rows, key=lambda row: (row["sequence"], row["frame"], row["structure"]))
    summaries = []
    for instant, view, group in _groups(rows):
        by_structure = [[row for row in group if row["structure"] == name] for name in structures]
        shown = [part for part in by_structure if any(row["status"] != ABSENT for row in part)]
        parts = [(name, part, [part]) for name, part in zip(structures, by_structure, strict=True)]
        for name, members, terms in [*parts, (MEAN, group, shown)]:
            estimates = {metric: _estimate(metric, terms, n_resamples, seed) for metric in metrics}
            summaries.append(Summary(instant, view, name, **_count(members), estimates=estimates))
    return summaries


def bootstrap_interval(
    sums: np.ndarray, counts: np.ndarray, n_resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean over images, resampling patients.

    Images of one patient are not independent: patients are drawn with replacement, and the
    statistic is the mean over all images of those drawn (over S structures: the mean of the S
    means).

    Args:
        sums: (S, P), the sum of a metric over the images of each patient that have a number.
        counts: (S, P), how many those are.
        n_resamples: Number of resamples.
        seed: Of the resampling.

    Returns:
        Lower and upper limit; NaN with fewer than two patients that have a number, or where a
        structure is so rare that some resample holds none of it.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap  # takes half a second to import

    measured = counts.any(axis=0)
    sums, counts = sums[:, measured], counts[:, measured]
    num_patients = sums.shape[1]
    if num_patients < 2 or n_resamples == 0:
        return float("nan"), float("nan")

    def mean_over_images(patients: np.ndarray, axis: int) -> np.ndarray:
        patients = patients.astype(np.intp)  # (n, P)
        with np.errstate(invalid="ignore"):  # a structure that few patients show may be drawn never
            means = sums[:, patients].sum(axis) / counts[:, patients].sum(axis)  # (S, n)
        return means.mean(axis=0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # the interval is NaN: says it all
        interval = bootstrap(
            (np.arange(num_patients),),
            mean_over_images,
            n_resamples=n_resamples,
            vectorized=True,
            axis=-1,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def _groups(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    views = sorted({row["view"] for row in rows})
    for instant in (ALL, *INSTANTS):
        for view in (ALL, *(views if len(views) > 1 else ())):
            group = [
                row
                for row in rows
                if instant in (ALL, row["instant"]) and view in (ALL, row["view"])
            ]
            if group or instant == view == ALL:
                yield instant, view, group


def _count(rows: Sequence[Row]) -> dict[str, int]:
    return {
        "num_images": len({(row["sequence"], row["frame"]) for row in rows}),
        "num_patients": len({row["patient"] for row in rows}),
        "num_empty": sum(row["status"] == EMPTY for row in rows),
        "num_absent": sum(row["status"] == ABSENT for row in rows),
    }


def _estimate(metric: str, terms: Sequence[Sequence[Row]], n_resamples: int, seed: int) -> Estimate:
    """Estimate the mean of the means of several lists of cases (one list a structure)."""
    patients = {name: i for i, name in enumerate(sorted({r["patient"] for t in terms for r in t}))}
    sums = np.zeros((len(terms), len(patients)))
    counts = np.zeros_like(sums)
    for i, term in enumerate(terms):
        values = np.array([row[metric] for row in term], dtype=float)
        owners = np.array([patients[row["patient"]] for row in term], dtype=np.intp)
        known = ~np.isnan(values)
        sums[i] = np.bincount(owners[known], values[known], minlength=len(patients))
        counts[i] = np.bincount(owners[known], minlength=len(patients))
    num_cases = int(counts.sum())
    if not terms or not counts.any(axis=1).all():
        return Estimate(float("nan"), float("nan"), float("nan"), num_cases)
    mean = float((sums.sum(axis=1) / counts.sum(axis=1)).mean())
    return Estimate(mean, *bootstrap_interval(sums, counts, n_resamples, seed), num_cases)
