"""Measure a CAMUS folder from its label maps: volumes, ejection fraction, lengths, areas.

    echozoo measure /data/CAMUS_public -o measures
    echozoo measure predictions --reference /data/CAMUS_public -o measures

The label maps (``*_gt``) are ground truth or predictions in the same layout. The folder's Info
files, where there are any, are what the numbers are compared with; --reference compares them with
the Info files and the label maps of another folder. Info files come in two generations that follow
different conventions: LVedv, LVesv and LVef of the older ones are compared with the per-phase
step, the EF of 2023 with the global step.

OUT gets patients.csv, frames.csv, measures.json, and a plot for each comparison. Patients that
cannot be measured are listed at the end; exit status 1 where there is one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from echozoo.datasets.layout import find_patients, resolve_data_root
from echozoo.errors import DataError, one_line_errors
from echozoo.evaluation.clinical_report import (
    DEFINITIONS,
    agreement_table,
    as_content,
    compare,
)
from echozoo.evaluation.functional.ejection_fraction import PER_PHASE, EjectionFraction
from echozoo.evaluation.patients import PatientMeasures, measure_patient
from echozoo.evaluation.report import origin, write_content, write_rows
from echozoo.evaluation.text_tables import text_table
from echozoo.options import add_data_root, add_workers, command_parser
from echozoo.visualization.agreement import Pairs, plot_agreement

_SHOWN = 40


@dataclass(frozen=True)
class Comparison:
    """Measured volumes of some patients beside those of another source."""

    key: str
    source: str
    step: str
    patients: list[str]
    measured: list[EjectionFraction]
    reference: list[EjectionFraction]

    @property
    def title(self) -> str:
        """For tables: what was compared with what."""
        methods = Counter(f"{one.method}" for one in self.measured)
        counted = ", ".join(f"{count} {method}" for method, count in methods.items())
        return f"label maps ({counted}, step {self.step}) against {self.source}"


def measure_all(root: Path, processes: int, console: Console) -> list[PatientMeasures]:
    """Measure all patients of a folder under a progress bar."""
    folders = find_patients(root)
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    measured = []
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("measuring", total=len(folders))
        if processes == 1 or len(folders) == 1:
            for item in folders.items():
                measured.append(measure_patient(*item))
                progress.advance(task)
            return measured
        with ProcessPoolExecutor(min(processes, len(folders))) as pool:
            for one in pool.map(measure_patient, folders, folders.values(), chunksize=4):
                measured.append(one)
                progress.advance(task)
    return measured


def comparisons(
    measured: list[PatientMeasures], reference: list[PatientMeasures] | None
) -> Iterator[Comparison]:
    """Set patients beside each generation of Info files, and beside the reference's label maps."""
    others = {one.patient: one for one in measured if one.info is not None}
    if reference is not None:
        others = {one.patient: one for one in reference}
    infos: dict[tuple[str, str], list] = {}
    masks = []
    for one in measured:
        other = others.get(one.patient)
        if not one.volumes or other is None:
            continue
        if other.info is not None:
            key = (other.info.method, other.info.step)
            infos.setdefault(key, []).append((one.patient, one.volumes, other.info))
        if reference is not None and other.volumes:
            masks.append((one.patient, one.volumes, other.volumes[PER_PHASE]))
    if masks:
        yield _comparison("label_maps", "label maps of the reference", PER_PHASE, masks)
    for (source, step), rows in infos.items():
        key = "info_older" if step == PER_PHASE else "info_2023"
        yield _comparison(key, source, step, rows)


def _comparison(key: str, source: str, step: str, rows: list) -> Comparison:
    patients, volumes, others = zip(*rows, strict=True)
    measured = [both[step] for both in volumes]
    return Comparison(key, source, step, list(patients), measured, list(others))


def patients_table(measured: list[PatientMeasures]) -> Table:
    """The first patients with their numbers."""
    title = "per-phase step, beside it EF by the global step; LA at ES"
    numbers = ("EDV\nml", "ESV\nml", "EF\n%", "EF global\n%", "LA\nml", "Info EF\n%")
    table = text_table(title, "patient", *numbers)
    table.add_column("method", no_wrap=True)
    rows = [one.row() for one in measured if one.volumes]
    for row in rows[:_SHOWN]:
        table.add_row(
            row["patient"],
            *(
                _number(row.get(key))
                for key in (
                    "edv_ml",
                    "esv_ml",
                    "ef_percent",
                    "ef_global_step_percent",
                    "la_volume_es_ml",
                    "info_ef_percent",
                )
            ),
            row["method"],
        )
    if len(rows) > _SHOWN:
        table.caption = f"and {len(rows) - _SHOWN} more in patients.csv"
    return table


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.1f}"


def write(
    out: Path, root: Path, measured: list[PatientMeasures], compared: list[Comparison]
) -> None:
    """Write the tables, the agreement and the plots."""
    rows = [one.row() for one in measured if one.volumes]
    columns = dict.fromkeys(key for row in rows for key in row)
    write_rows(out / "patients.csv", [{key: row.get(key) for key in columns} for row in rows])
    write_rows(out / "frames.csv", [row for one in measured for row in one.frame_rows()])
    content: dict[str, Any] = {
        "root": str(root),
        **origin(),
        "definitions": DEFINITIONS,
        "patients": rows,
        "agreement": {
            item.key: {"title": item.title, "step": item.step}
            | as_content(compare(item.measured, item.reference))
            for item in compared
        },
        "problems": [problem for one in measured for problem in one.problems],
        "notes": [note for one in measured for note in one.notes],
    }
    write_content(out / "measures.json", content)
    for item in compared:
        quantities = [
            Pairs(
                name,
                unit,
                [getattr(one, field) for one in item.measured],
                [getattr(one, field) for one in item.reference],
                difference,
            )
            for name, unit, field, difference in (
                ("EF", "%", "ef_percent", "points"),
                ("EDV", "ml", "edv_ml", None),
                ("ESV", "ml", "esv_ml", None),
            )
        ]
        plot_agreement(quantities, out / f"{item.key}.png", "label maps", item.source)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    add_data_root(parser)
    parser.add_argument("-o", "--out", type=Path, help="folder for tables and plots")
    parser.add_argument("--reference", help="data folder to compare with (ground truth)")
    add_workers(parser)
    return parser.parse_args()


@one_line_errors
def main() -> int:
    """Run the tool."""
    args = parse_args()
    console = Console(soft_wrap=True)
    root = resolve_data_root(args.root)
    reference_root = resolve_data_root(args.reference) if args.reference else None
    measured = measure_all(root, args.workers, console)
    reference = measure_all(reference_root, args.workers, console) if reference_root else None
    problems = [problem for one in [*measured, *(reference or [])] for problem in one.problems]
    if not any(one.volumes for one in measured):
        raise DataError(problems[0])
    console.print(patients_table(measured))
    compared = list(comparisons(measured, reference))
    for item in compared:
        agreement = agreement_table(item.title, compare(item.measured, item.reference))
        console.print(agreement, highlight=False, markup=False)
    if not compared:
        console.print("no Info files: nothing to compare with (--reference FOLDER)")
    if args.out:
        write(args.out, root, measured, compared)
        console.print(f"{args.out}: patients.csv, frames.csv, measures.json", highlight=False)
    for note in (note for one in [*measured, *(reference or [])] for note in one.notes):
        console.print(f"note: {note}", highlight=False, markup=False)
    for problem in problems:
        console.print(f"problem: {problem}", highlight=False, markup=False)
    done = sum(bool(one.volumes) for one in measured)
    console.print(f"{done} of {len(measured)} patients measured, {len(problems)} problems")
    return 1 if problems else 0
