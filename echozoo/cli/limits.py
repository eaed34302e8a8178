"""Derive the limits of temporal consistency from a data set's reference masks.

    echozoo limits /data/CAMUS_public -o limits.json

A config uses them by dict(type="TemporalConsistencyMetric", limits="limits.json").

Bounds are the least and largest value of each attribute in any frame; the threshold is the largest
error of any frame against its neighbours, in any film. With them no film that they are from is
inconsistent. Take the training patients (the default): limits from test patients know the test.
Films are the sequences with masks in CAMUS's layout; a sequence that is broken is listed, and the
exit status is 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from echozoo.datasets.anatomy import VIEWS
from echozoo.datasets.camus import CAMUSDataset
from echozoo.datasets.checks import check_labels
from echozoo.datasets.layout import find_patients, resolve_data_root, scan_patient
from echozoo.datasets.splits import SCHEMES, SUBSETS, split_patients
from echozoo.errors import ConfigError, DataError, one_line_errors
from echozoo.evaluation.functional.attributes import ATTRIBUTES, BY_KEY, film_attributes
from echozoo.evaluation.functional.temporal import FEWEST_FRAMES, Limit, derive_limits
from echozoo.evaluation.limits import TemporalLimits
from echozoo.evaluation.report import origin, write_content
from echozoo.evaluation.text_tables import text_table
from echozoo.films.io import read_volume
from echozoo.options import add_data_root, add_workers, command_parser

FEW_FILMS = 50
"""The published limits are from 98; the largest error of fewer films says less about others."""


@dataclass(frozen=True)
class MeasuredFilm:
    """The attributes of one film's reference masks."""

    patient: str
    values: dict[str, np.ndarray]
    """(T,) by attribute; empty where the file could not be read."""
    problem: str = ""

    @property
    def num_frames(self) -> int:
        """T."""
        return len(next(iter(self.values.values()), ()))


def find_films(root: Path, args: argparse.Namespace) -> list[tuple[str, Path]]:
    """The patients and mask files of the films that were asked for."""
    folders = find_patients(root)
    chosen = {
        patient
        for subset in args.subset
        for patient in split_patients(args.split, subset, list(folders), root, args.split_seed)
    }
    scanned = [files for name in sorted(chosen) for files in scan_patient(name, folders[name])]
    films = [
        (files.patient, files.film.label)
        for files in scanned
        if files.view in args.views and files.film and files.film.label
    ]
    if not films:
        raise DataError(
            f"{root}: no sequence with masks of {len(chosen)} patients, views"
            f" {', '.join(args.views)}; ED and ES stills have no frames between"
        )
    return films


def measure_film(film: tuple[str, Path]) -> MeasuredFilm:
    """Measure every frame of a film's masks."""
    patient, path = film
    try:
        volume = read_volume(path, label=True)
        values = CAMUSDataset.label_values
        check_labels(str(path), volume.array, values)
        return MeasuredFilm(patient, film_attributes(volume.array, tuple(values), volume.spacing))
    except DataError as error:
        return MeasuredFilm(patient, {}, str(error))


def measure_all(
    films: Sequence[tuple[str, Path]], processes: int, console: Console
) -> list[MeasuredFilm]:
    """Measure all films under a progress bar."""
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    measured = []
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("measuring", total=len(films))
        if processes == 1 or len(films) == 1:
            for film in films:
                measured.append(measure_film(film))
                progress.advance(task)
            return measured
        with ProcessPoolExecutor(min(processes, len(films))) as pool:
            for one in pool.map(measure_film, films, chunksize=4):
                measured.append(one)
                progress.advance(task)
    return measured


def limits_table(limits: dict[str, Limit]) -> Table:
    """Bounds, thresholds, and thresholds in the attribute's unit."""
    table = text_table(None, "attribute", "min", "max", "threshold", "tolerated")
    for key, limit in limits.items():
        numbers = (f"{limit.min:.2f}", f"{limit.max:.2f}", f"{limit.threshold:.5f}")
        table.add_row(key, *numbers, f"{limit.tolerance:.3f} {BY_KEY[key].unit}")
    return table


def describe(root: Path, films: Sequence[MeasuredFilm], args: argparse.Namespace) -> str:
    """Where the limits are from, in one sentence."""
    frames, patients = sum(film.num_frames for film in films), {film.patient for film in films}
    margin = f" plus {args.margin:.0%}" if args.margin else ""
    return (
        f"derived from the reference masks of {len(films)} films ({frames} frames,"
        f" {len(patients)} patients) of {root.name}, split {args.split}, {' + '.join(args.subset)},"
        f" views {' + '.join(args.views)}: least and largest value, largest error{margin}"
    )


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    add_data_root(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument(
        "--split", default="files", choices=SCHEMES, metavar="SPLIT", help="default: files"
    )
    parser.add_argument("--split-seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--subset", nargs="+", default=["train"], choices=SUBSETS, help="default: train"
    )
    parser.add_argument(
        "--views", nargs="+", default=list(VIEWS), choices=VIEWS, help="default: all"
    )
    parser.add_argument(
        "--margin", type=float, default=0.0, help="added to thresholds, as a share (default: 0)"
    )
    parser.add_argument("--name", help="of the limits, for tables (default: the data folder's)")
    add_workers(parser)
    return parser.parse_args()


@one_line_errors
def main() -> int:
    """Run the tool."""
    args = parse_args()
    if not 0 <= args.margin < np.inf:
        raise ConfigError(f"--margin {args.margin}: wanted 0 or more")
    console = Console(soft_wrap=True)
    root = resolve_data_root(args.root).resolve()
    measured = measure_all(find_films(root, args), args.workers, console)
    problems = [film.problem for film in measured if film.problem]
    films = [film for film in measured if film.num_frames >= FEWEST_FRAMES]
    limits = derive_limits([film.values for film in films], args.margin)
    if not limits:
        raise DataError(
            (problems or [f"{root}: no film of three frames or more whose heart moves"])[0]
        )
    found = TemporalLimits(args.name or root.name, limits, describe(root, films, args))
    write_content(args.out, found.as_content() | origin())
    console.print(limits_table(limits))
    for note in notes(films, measured, limits):
        console.print(f"note: {note}", highlight=False, markup=False)
    for problem in problems:
        console.print(f"problem: {problem}", highlight=False, markup=False)
    console.print(f"{args.out}: {found.provenance}", highlight=False, markup=False)
    return 1 if problems else 0


def notes(
    films: Sequence[MeasuredFilm], measured: Sequence[MeasuredFilm], limits: dict[str, Limit]
) -> list[str]:
    """What a user should know about the limits, one line each."""
    found = []
    if len(films) < FEW_FILMS:
        found.append(
            f"only {len(films)} films: the largest error of so few says little about others"
            f" (the published limits are from 98); wanted {FEW_FILMS} or more"
        )
    short = sum(film.num_frames < FEWEST_FRAMES and not film.problem for film in measured)
    if short:
        found.append(f"{short} films of fewer than three frames are left out")
    lacking = [one.name for one in ATTRIBUTES if one.key not in limits]
    if lacking:
        found.append(f"no limits for {', '.join(lacking)}: not in these masks, or never moving")
    for key in limits:
        failed = sum(int(np.isnan(film.values[key]).sum()) for film in films)
        if failed:
            found.append(f"{BY_KEY[key].name} could not be measured in {failed} frames")
    return found
