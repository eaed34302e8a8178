"""Writing a table: measured beside published, with all that a reader needs to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echozoo.evaluation.report import write_rows, write_text
from echozoo.tables.cells import (
    NOTHING,
    count,
    difference_cell,
    hours,
    measured_cell,
    p_cell,
    trained_until,
)
from echozoo.tables.collect import Measured, RowResult
from echozoo.tables.compare import Comparison
from echozoo.tables.definition import Row, TableDefinition
from echozoo.tables.document import Bullets, Commands, Grid, Section, Text, latex, markdown
from echozoo.tables.protocol import hardware, join, notes, protocol
from echozoo.tables.quantities import QUANTITIES
from echozoo.tables.record import RunRecord
from echozoo.zoo import shown

_CELLS = (
    "Measured: mean over seeds of each run's mean over images, of all folds where there are some "
    "(95 % bootstrap interval over "
    "patients) ± standard deviation over seeds. Published figures are what the document prints. "
    "Nothing stands where nothing was run, or published."
)
_PAIRED = (
    "Row minus baseline, mean over patients on the cases that both have measured with every seed "
    "(95 % bootstrap interval over patients); p of Wilcoxon's signed-rank test, and adjusted by "
    "Holm for all comparisons of this table. It is about these trained models on other patients; "
    "how much another training would differ is the deviation over seeds above."
)


def write_table(
    table: TableDefinition,
    results: Sequence[RowResult],
    comparisons: Sequence[Comparison],
    out: Path,
    command: str,
    tex: bool = False,
) -> list[Path]:
    """Write a table as Markdown and CSV, and as LaTeX if asked for.

    Raises:
        ConfigError: A file cannot be written.
    """
    title = f"{table.source}: {table.title}"
    sections = _sections(table, results, comparisons, command)
    files = [
        write_text(out / f"{table.name}.md", markdown(title, sections)),
        write_rows(out / f"{table.name}.csv", csv_rows(table, results, comparisons)),
    ]
    if tex:
        shown = [s for s in sections if s.title != "Runs"]
        files.append(write_text(out / f"{table.name}.tex", latex(title, shown)))
    return files


def csv_rows(
    table: TableDefinition, results: Sequence[RowResult], comparisons: Sequence[Comparison]
) -> list[dict[str, Any]]:
    """Return one row a row of the table, every number in a column of its own.

    Measured numbers are in the units of their names: fractions are not in percent here.
    """
    rows = []
    for result in results:
        records = [one.record for one in result.tested]
        row: dict[str, Any] = {
            "row": result.planned.row.name,
            "config": shown(result.planned.row.config),
            "seeds": _seeds(records),
            "parameters": records[0].parameters if records else None,
            "trainable": records[0].trainable if records else None,
            "train_hours_total": sum(r.train_seconds for r in records) / 3600 if records else None,
            "hardware": " / ".join(dict.fromkeys(r.hardware for r in records)),
        }
        for key in table.measured:
            row |= _csv_measured(key, result.measured.get(key))
        published = result.planned.row.published
        row |= {f"published_{key}": published.get(key) for key in table.published}
        own = {c.quantity: c for c in comparisons if c.row == result.planned.row.name}
        for key in table.compared:
            row |= _csv_comparison(key, own.get(key))
        rows.append(row)
    return rows


def _csv_measured(key: str, measured: Measured | None) -> dict[str, Any]:
    names = ("value", "low", "high", "seed_sd")
    names += ("amount", "total") if QUANTITIES[key].share else ()
    return {
        key if name == "value" else f"{key}_{name}": measured and getattr(measured, name)
        for name in names
    }


def _csv_comparison(key: str, one: Comparison | None) -> dict[str, Any]:
    return {
        f"{key}_difference": one and one.paired.difference.value,
        f"{key}_difference_low": one and one.paired.difference.low,
        f"{key}_difference_high": one and one.paired.difference.high,
        f"{key}_p": one and one.paired.p_value,
        f"{key}_p_holm": one and one.p_holm,
    }


def _sections(
    table: TableDefinition,
    results: Sequence[RowResult],
    comparisons: Sequence[Comparison],
    command: str,
) -> list[Section]:
    pools = [pool for result in results for pool in result.pools]
    whole = [key for key in table.measured if QUANTITIES[key].structure is None]
    each = [key for key in table.measured if QUANTITIES[key].structure is not None]
    return [
        Section("Published protocol", [Text(table.protocol)]),
        Section("Measured here", [Bullets(protocol(pools)), Commands([command])]),
        Section("Results", [_results_grid(table, results, whole, published=True)]),
        Section("By structure", [_results_grid(table, results, each, False)] if each else []),
        Section("Differences", [_paired_grid(comparisons)] if comparisons else []),
        Section("Runs", [_runs_grid(results), *_commands(results)]),
        Section("Notes", [Bullets(notes(table, results))]),
    ]


def _results_grid(
    table: TableDefinition, results: Sequence[RowResult], keys: Sequence[str], published: bool
) -> Grid:
    shown = table.published if published else {}
    headings = ["", "seeds", *(QUANTITIES[key].heading for key in keys)]
    headings += [f"published: {heading}" for heading in shown.values()]
    rows = []
    for result in results:
        cells = [measured_cell(QUANTITIES[key], result.measured.get(key)) for key in keys]
        cells += [_published_cell(result, key) for key in shown]
        seeds = str(len(result.pools)) if result.pools else NOTHING
        rows.append([result.planned.row.name, seeds, *cells])
    meanings = {QUANTITIES[key].meaning: QUANTITIES[key].heading for key in reversed(keys)}
    terms = "; ".join(f"{name}: {meaning}" for meaning, name in reversed(meanings.items()))
    return Grid(headings, rows, f"{_CELLS} {terms}." if published else f"{terms}.")


def _paired_grid(comparisons: Sequence[Comparison]) -> Grid:
    headings = ["", "against", "quantity", "patients", "difference", "p", "p, Holm"]
    rows = []
    for one in comparisons:
        quantity = QUANTITIES[one.quantity]
        heading = f"{quantity.heading}, percentage points" if quantity.share else quantity.heading
        rows.append(
            [
                one.row,
                one.baseline,
                heading,
                str(one.paired.num_pairs),
                difference_cell(quantity, one),
                p_cell(one.paired.p_value),
                p_cell(one.p_holm),
            ]
        )
    return Grid(headings, rows, _PAIRED, labels=3)


def _runs_grid(results: Sequence[RowResult]) -> Grid:
    headings = ["", "config", "hardware", "parameters", "trainable", "trained", "seeds", "hours"]
    rows = []
    for result in results:
        row, records = result.planned.row, [one.record for one in result.tested]
        start = [row.name, _config_cell(row)]
        if not records:
            rows.append([*start, *[NOTHING] * 6])
            continue
        rows.append(
            [
                *start,
                join(hardware(one) for one in result.tested),
                count(records[0].parameters),
                count(records[0].trainable) if row.trains else "0",
                trained_until(r.trained_until for r in records) if row.trains else "not here",
                _seeds(records) if row.trains or row.averages else NOTHING,
                hours(r.train_seconds for r in records) if row.trains else "0",
            ]
        )
    caption = (
        "Hours: wall-clock time of one training with its validations, all restarts added, mean "
        "over seeds; what it starts from is not in it."
    )
    return Grid(headings, rows, caption, labels=3)


def _seeds(records: Sequence[RunRecord]) -> str:
    return " ".join(dict.fromkeys(str(record.seed) for record in records))


def _config_cell(row: Row) -> str:
    if row.averages:
        models = " and ".join(row.averages)
        models = f"the mean of {models}" if len(row.averages) > 1 else f"trained as {models}"
        return ", ".join([models, *row.postprocess])
    options = "".join(f", {key}={value}" for key, value in row.options.items())
    start = f", starts from {row.starts_from}" if row.starts_from else ""
    return f"`{shown(row.config)}`{options}{start}"


def _commands(results: Sequence[RowResult]) -> list[Text | Commands]:
    lines = []
    for result in results:
        for record in [one.record for one in result.tested][:1]:
            lines += [f"# {result.planned.row.name}", record.train_command, record.test_command]
    if not lines:
        return []
    text = (
        "Each row by itself, its first seed (PATH: the data set; RUN: a folder of its own; a run "
        "that another starts from: the folder it was trained in):"
    )
    return [Text(text), Commands([line for line in lines if line])]


def _published_cell(result: RowResult, key: str) -> str:
    return str(result.planned.row.published.get(key, NOTHING))
