"""Whether rows of a table differ: paired over patients, corrected for how many pairs there are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from echozoo.evaluation.functional.paired import PairedDifference, holm, paired_difference
from echozoo.tables.collect import RowResult, files_of
from echozoo.tables.definition import TableDefinition
from echozoo.tables.quantities import QUANTITIES, Case, Quantity, Rows


@dataclass(frozen=True)
class Comparison:
    """A row against its baseline in one quantity.

    Attributes:
        row: Name of the row.
        baseline: Name of the row that is subtracted.
        quantity: Key of `QUANTITIES`.
        paired: Mean difference row - baseline over patients, interval and p-value.
        p_holm: The p-value, adjusted for all comparisons of the table.
    """

    row: str
    baseline: str
    quantity: str
    paired: PairedDifference
    p_holm: float


def compare(
    table: TableDefinition, results: Sequence[RowResult], n_resamples: int = 2000
) -> list[Comparison]:
    """Compare every row that has a baseline with it.

    Returns:
        A comparison a row and quantity; those without a common patient are left out.
    """
    by_name = {result.planned.row.name: result for result in results}
    found = []
    for row in table.rows:
        baseline = table.baseline_of(row)
        for key in table.compared if baseline else ():
            quantity = QUANTITIES[key]
            sides = [files_of(by_name[one.name].pools, quantity) for one in (row, baseline)]
            paired = paired_difference(*patient_means(quantity, *sides), n_resamples)
            if paired.num_pairs:
                found.append((row.name, baseline.name, key, paired))
    adjusted = holm([paired.p_value for *_, paired in found])
    return [Comparison(*one, float(p)) for one, p in zip(found, adjusted, strict=True)]


def patient_means(
    quantity: Quantity, first: Sequence[Rows], second: Sequence[Rows]
) -> tuple[np.ndarray, np.ndarray]:
    """Average two rows by patient, on the cases that both have measured with every seed.

    Seeds are averaged first, then a patient's cases of each group (structure), then its groups.

    Args:
        quantity: What to average.
        first: Rows of the file of each run, one a seed.
        second: Likewise of the other row.

    Returns:
        (P,) and (P,), of the same patients; P = 0 where there is no common case.
    """
    sides = [_over_seeds(quantity, runs) for runs in (first, second)]
    common = [key for key in sides[0] if key in sides[1]]
    means = [_by_patient([side[key] for key in common]) for side in sides]
    patients = sorted(means[0])
    return tuple(np.array([side[name] for name in patients], dtype=float) for side in means)


def _over_seeds(quantity: Quantity, runs: Sequence[Rows]) -> Mapping[Hashable, Case]:
    cases = [dict(quantity.select(rows)) for rows in runs]
    found = {}
    for key, case in cases[0].items() if cases else ():
        if all(key in one for one in cases):
            amount = float(np.mean([one[key].amount for one in cases]))
            if not math.isnan(amount):
                weight = float(np.mean([one[key].weight for one in cases]))
                found[key] = Case(case.patient, case.group, amount, weight)
    return found


def _by_patient(cases: Sequence[Case]) -> dict[str, float]:
    sums: dict[str, dict[str, np.ndarray]] = defaultdict(lambda: defaultdict(lambda: np.zeros(2)))
    for case in cases:
        sums[case.patient][case.group] += case.amount, case.weight
    return {
        patient: float(np.mean([amount / weight for amount, weight in groups.values()]))
        for patient, groups in sums.items()
    }
