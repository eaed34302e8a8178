"""From the files of tested runs to the numbers of a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from echozoo.evaluation.functional.aggregate import bootstrap_interval
from echozoo.tables.quantities import QUANTITIES, Case, Quantity, Rows
from echozoo.tables.record import RunRecord, read_record
from echozoo.tables.runs import PlannedRow, PlannedTable, Run
from echozoo.visualization.report_files import read_json, read_rows


@dataclass(frozen=True)
class TestedRun:
    """What a tested run has left.

    Attributes:
        run: The run.
        record: Of its making.
        files: Rows of results.csv, temporal.csv and ef.csv, by "results", "temporal", "ef".
        temporal: temporal.json: limits with provenance, counts of predictions and references.
    """

    run: Run
    record: RunRecord
    files: dict[str, Rows]
    temporal: dict

    @property
    def stale(self) -> bool:
        """Whether the config has changed since."""
        return self.record.fingerprint != self.run.fingerprint


@dataclass(frozen=True)
class Measured:
    """A quantity of a row, in the unit of the files.

    Attributes:
        value: Mean over seeds of each run's mean; NaN where a run has none.
        low: Lower limit of the 95 % bootstrap interval over patients, of the mean over seeds.
        high: Upper limit.
        seed_sd: Standard deviation over seeds (n - 1); NaN for a single one.
        amount: Mean over seeds of the numerators' sum: what a share counts.
        total: Mean over seeds of the denominators' sum: of how many.
    """

    value: float
    low: float
    high: float
    seed_sd: float
    amount: float
    total: float


@dataclass(frozen=True)
class RowResult:
    """A row with what its runs have measured.

    Attributes:
        planned: The row and its runs.
        tested: Runs that have results.
        measured: By key of `QUANTITIES`; what no run can tell is not in it.
    """

    planned: PlannedRow
    tested: tuple[TestedRun, ...]
    measured: dict[str, Measured]

    @property
    def pools(self) -> list[list[TestedRun]]:
        """The tested runs of each seed, where all of its folds are there (see `pools_of`)."""
        return pools_of(self.planned, self.tested)


def pools_of(planned: PlannedRow, tested: Sequence[TestedRun]) -> list[list[TestedRun]]:
    """Put the folds of a seed together, in which each patient is tested once.

    Returns:
        A list of runs a seed; a seed with folds missing is left out, as some patients would be.
    """
    wanted = Counter(run.seed for run in planned.runs)
    by_seed: dict[int, list[TestedRun]] = {}
    for one in tested:
        by_seed.setdefault(one.run.seed, []).append(one)
    return [pool for seed, pool in by_seed.items() if len(pool) == wanted[seed]]


def collect(table: PlannedTable, n_resamples: int = 2000) -> list[RowResult]:
    """Read what the runs of a table have left, finished ones only.

    Returns:
        A result a row; without a tested run, one without numbers.

    Raises:
        DataError: A file of a run cannot be read.
    """
    results = []
    for planned in table.rows:
        tested = tuple(filter(None, (read_tested(run) for run in planned.runs)))
        pools = pools_of(planned, tested)
        found = {
            key: measure(QUANTITIES[key], files_of(pools, QUANTITIES[key]), n_resamples)
            for key in table.definition.measured
        }
        measured = {key: value for key, value in found.items() if value is not None}
        results.append(RowResult(planned, tested, measured))
    return results


def read_tested(run: Run) -> TestedRun | None:
    """Read the results of a run.

    Returns:
        Its files; None where its test has not ended.

    Raises:
        DataError: A file cannot be read.
    """
    record = read_record(run.folder)
    if record is None or not record.tested or not (run.folder / "results.csv").is_file():
        return None
    files = {name: read_rows(run.folder / f"{name}.csv") for name in ("results", "temporal", "ef")}
    return TestedRun(run, record, files, read_json(run.folder / "temporal.json", dict))


def files_of(pools: Sequence[Sequence[TestedRun]], quantity: Quantity) -> list[Rows]:
    """Return the rows that a quantity is computed from, a list a seed, all of its folds in it."""
    return [[row for one in pool for row in one.files[quantity.file]] for pool in pools]


def measure(quantity: Quantity, runs: Sequence[Rows], n_resamples: int = 2000) -> Measured | None:
    """Measure a quantity over runs that differ in their seeds, the folds of each in one.

    A run's mean is the mean over groups (structures) of the means over cases. Patients are drawn
    with replacement, the same ones in every run and group, and the interval is of what is
    shown: the mean over runs.

    Args:
        quantity: What to measure.
        runs: Of each run the rows of its file.
        n_resamples: Of the bootstrap.

    Returns:
        The numbers; None where some run has no case of it.
    """
    cases = [dict(quantity.select(rows)) for rows in runs]
    if not cases or not all(cases):
        return None
    patients = sorted({case.patient for one in cases for case in one.values()})
    sums, counts = zip(*(_by_group(one, patients) for one in cases), strict=True)
    with np.errstate(invalid="ignore"):  # a structure that was never measured: NaN says so
        means = [(s.sum(axis=1) / c.sum(axis=1)).mean() for s, c in zip(sums, counts, strict=True)]
    value = float(np.mean(means))
    low = high = math.nan
    if not math.isnan(value):
        # (runs * groups, P): a mean over rows of this is the mean over runs, as each has as many.
        low, high = bootstrap_interval(np.concatenate(sums), np.concatenate(counts), n_resamples)
    return Measured(
        value=value,
        low=low,
        high=high,
        seed_sd=float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
        amount=float(np.mean([s.sum() for s in sums])),
        total=float(np.mean([c.sum() for c in counts])),
    )


def _by_group(
    cases: Mapping[Hashable, Case], patients: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Sum amounts and weights of the measured cases: (G, P) each."""
    groups = {name: i for i, name in enumerate(sorted({c.group for c in cases.values()}))}
    places = {name: i for i, name in enumerate(patients)}
    sums = np.zeros((2, len(groups), len(patients)))
    for case in cases.values():
        if not math.isnan(case.amount):
            place = groups[case.group], places[case.patient]
            sums[(0, *place)] += case.amount
            sums[(1, *place)] += case.weight
    return sums[0], sums[1]
