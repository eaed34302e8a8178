"""Ejection fractions of two sources, set side by side: statistics, rows for files, a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from echozoo.evaluation.functional.agreement import Agreement, Interval, agreement
from echozoo.evaluation.functional.ejection_fraction import EjectionFraction
from echozoo.evaluation.text_tables import as_text, text_table


class Quantity(NamedTuple):
    """A number that is compared."""

    key: str
    field: str
    """Of `EjectionFraction`."""
    unit: str
    """Of differences; it is part of the names of metrics."""


QUANTITIES = (
    Quantity("ef", "ef_percent", "pp"),
    Quantity("edv", "edv_ml", "ml"),
    Quantity("esv", "esv_ml", "ml"),
)
DEFINITIONS = {
    "ef": "100 (EDV - ESV) / EDV in percent; its differences are in percentage points, pp",
    "edv, esv": "volume of the LV at end diastole and end systole, method of 20 disks, ml",
    "method": "biplane: both views; single-plane 2CH or 4CH: the other view is not there, disks "
    "are taken as round",
    "step per_phase": "height of a disk from the longer view at each instant (LVef of the older "
    "Info files)",
    "step global": "one height for all, from the longest of all four (EF of the Info files of "
    "2023); EF is 5 to 10 points lower than per_phase",
    "bias": "mean of measured - reference, with its sign",
    "sd": "standard deviation of the differences (n - 1)",
    "loa": "limits of agreement, bias -+ 1.96 SD",
    "mae": "mean absolute difference",
    "r": "Pearson's correlation",
    "low, high": "95 %: Fisher's z (r), t (bias), chi squared (sd), Bland and Altman 1986 (loa), "
    "bootstrap over patients (mae)",
}
_NAN = float("nan")


def compare(
    measured: Sequence[EjectionFraction],
    reference: Sequence[EjectionFraction],
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Agreement]:
    """Agreement of EF, EDV and ESV, one pair a patient.

    Args:
        measured: One a patient.
        reference: Of the same patients in the same order.
        n_resamples: Of the bootstrap of MAE.
        seed: Of the bootstrap.

    Returns:
        By "ef", "edv" and "esv".
    """
    sides = (measured, reference)
    return {
        quantity.key: agreement(
            *(np.array([getattr(one, quantity.field) for one in side]) for side in sides),
            n_resamples,
            seed,
        )
        for quantity in QUANTITIES
    }


def scalars(comparison: Mapping[str, Agreement]) -> dict[str, float]:
    """Name the statistics as metrics: ``ef_mae_pp``, ``ef_r``, ``edv_mae_ml`` and so on."""
    named = {}
    for key, _, unit in QUANTITIES:
        found = comparison[key]
        for name in ("mae", "bias", "sd", "loa_low", "loa_high"):
            named[f"{key}_{name}_{unit}"] = getattr(found, name).value
        named[f"{key}_r"] = found.pearson_r.value
    return named


def side_by_side(
    patient: str,
    measured: EjectionFraction,
    reference: EjectionFraction,
    other: str = "reference",
) -> dict[str, Any]:
    """One row of a CSV file: a patient's numbers, measured and of another source.

    Returns:
        Columns and values.
    """
    numbers = {q.field: getattr(measured, q.field) for q in QUANTITIES}
    numbers |= {f"{other}_{q.field}": getattr(reference, q.field) for q in QUANTITIES}
    return {"patient": patient, "method": measured.method, "step": measured.step} | numbers


def as_content(comparison: Mapping[str, Agreement]) -> dict[str, Any]:
    """Agreement for a JSON file, units in the names."""
    return {f"{q.key}_{q.unit}": asdict(comparison[q.key]) for q in QUANTITIES}


def agreement_table(title: str, comparison: Mapping[str, Agreement]) -> str:
    """Lay out agreement as text, intervals below their numbers.

    Returns:
        Plain text, some 90 characters wide.
    """
    table = text_table(title, "", "patients", "MAE", "bias", "SD", "limits of agreement", "r")
    for key, _, unit in QUANTITIES:
        found = comparison[key]
        if not found.num_pairs:
            continue
        limits = f"{_plain(found.loa_low.value)} to {_plain(found.loa_high.value)}"
        spread = [_cell(statistic) for statistic in (found.mae, found.bias, found.sd)]
        correlation = _cell(found.pearson_r, digits=3)
        name = f"{key.upper()}, {unit}"
        table.add_row(name, str(found.num_pairs), *spread, limits, correlation)
    return as_text(table)


def missing(method: str, step: str) -> EjectionFraction:
    """An ejection fraction without numbers."""
    return EjectionFraction(_NAN, _NAN, _NAN, method, step)


def _plain(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # no "-0.0"


def _cell(interval: Interval, digits: int = 1) -> str:
    text = _plain(interval.value, digits)
    if math.isnan(interval.low):
        return text
    return f"{text}\n{_plain(interval.low, digits)} to {_plain(interval.high, digits)}"
