"""Read the folder of a data set once, whole, and say what is in it and what is wrong with it.

    echozoo check /data/CAMUS_public

A folder with FileList.csv is EchoNet-Dynamic's, one with HMC_QU.xlsx HMC-QU's, any other CAMUS's.

Tables show counts, sizes, spacings, pixel and label values, grades and splits. What a folder may
lack as a whole (the two-chamber view, sequences, Info files, split lists) is a note; what is
damaged, does not fit together, or is missing for some patients only is a problem, one line each
that names the file. Exit status 1 where there is a problem.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from echozoo.datasets.anatomy import INSTANTS, QUALITIES, VIEWS
from echozoo.datasets.camus import CAMUSDataset
from echozoo.datasets.checks import check_labels, check_mask_size
from echozoo.datasets.film_checks import (
    FilmFinding,
    check_film,
    data_set_of,
    patients_of,
    subsets_of,
)
from echozoo.datasets.film_dataset import FilmDataset
from echozoo.datasets.info import Info, read_info
from echozoo.datasets.layout import ViewFiles, find_patients, resolve_data_root, scan_patient
from echozoo.datasets.splits import find_split_folder, read_split_files
from echozoo.errors import DataError, one_line, one_line_errors
from echozoo.films.apart import apart
from echozoo.films.io import Volume, read_noted
from echozoo.options import add_data_root, add_workers


@dataclass
class Finding:
    """What was found in the files of one view, or, added up, of all."""

    files: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    spacings: Counter = field(default_factory=Counter)
    lengths: Counter = field(default_factory=Counter)
    labels: Counter = field(default_factory=Counter)
    darkest: int = 255
    brightest: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Finding) -> None:
        """Add up."""
        for name in ("files", "sizes", "spacings", "lengths", "labels"):
            getattr(self, name).update(getattr(other, name))
        self.darkest = min(self.darkest, other.darkest)
        self.brightest = max(self.brightest, other.brightest)
        self.problems += other.problems


def check_view(files: ViewFiles) -> Finding:
    """Read every file of one view of one patient."""
    finding = Finding()
    length = None
    pairs = [*files.stills.items(), *([("sequence", files.film)] if files.film else [])]
    for kind, pair in pairs:
        finding.files[files.view, kind] += 1
        finding.files[files.view, f"{kind} mask"] += pair.label is not None
        image = _read(finding, pair.image)
        if image is None:
            continue
        if kind == "sequence":
            length = len(image.array)
            finding.lengths[length] += 1
        _check_image(finding, pair.image, image)
        mask = _read(finding, pair.label, True, pair.image) if pair.label else None
        if mask is not None:
            _check_mask(finding, pair.image, image, pair.label, mask)
    if files.info and files.has_images:
        finding.files[files.view, "Info"] += 1
        info = _attempt(finding, read_info, files.info)
        if info is not None:
            _check_info(finding, files, info, length)
    elif files.has_images:
        finding.files[files.view, "no grade"] += 1
    return finding


def _read(finding: Finding, path: Path, *how) -> Volume | None:
    """Read a file; what it notes is a problem in a data set, and counted as one."""
    read = _attempt(finding, apart, read_noted, path, *how)
    if read is None:
        return None
    volume, notes = read
    finding.problems += [n if str(path) in n else f"{path}: {n}" for n in notes]
    return volume


def _attempt(finding: Finding, read, *arguments):
    try:
        return read(*arguments)
    except DataError as error:
        finding.problems.append(one_line(error))
        return None


def _check_image(finding: Finding, path: Path, image: Volume) -> None:
    finding.sizes[image.array.shape[1:]] += 1
    if image.spacing:
        finding.spacings[tuple(round(step, 4) for step in image.spacing)] += 1
    darkest, brightest = int(image.array.min()), int(image.array.max())
    finding.darkest = min(finding.darkest, darkest)
    finding.brightest = max(finding.brightest, brightest)
    if darkest == brightest:
        finding.problems.append(f"{path}: every pixel is {darkest}, wanted an image")


def _check_mask(
    finding: Finding, image_path: Path, image: Volume, path: Path, mask: Volume
) -> None:
    _attempt(finding, check_mask_size, str(image_path), image.array, str(path), mask.array)
    _attempt(finding, check_labels, str(path), mask.array, CAMUSDataset.label_values)
    finding.labels.update(np.unique(mask.array).tolist())
    if not mask.array.any():
        finding.problems.append(f"{path}: empty mask, wanted at least one structure")


def _check_info(finding: Finding, files: ViewFiles, info: Info, length: int | None) -> None:
    grade = info.quality if info.quality in QUALITIES else "no grade"
    finding.files[files.view, grade] += 1
    if info.quality and info.quality not in QUALITIES:
        finding.problems.append(
            f"{files.info}: ImageQuality is {info.quality!r}, wanted {', '.join(QUALITIES)}"
        )
    if length and info.num_frames and info.num_frames != length:
        finding.problems.append(
            f"{files.info}: NbFrame is {info.num_frames}, {files.film.image} has {length} frames"
        )
    frames = length or info.num_frames
    for instant, frame in (("ED", info.ed), ("ES", info.es)):
        if frames and frame is not None and frame >= frames:
            finding.problems.append(
                f"{files.info}: {instant} is {frame + 1}, wanted at most {frames}, the frames of"
                " the film"
            )
    if info.ed is not None and info.ed == info.es:
        finding.problems.append(f"{files.info}: ED and ES are both {info.ed + 1}")


def find_missing(views: list[ViewFiles]) -> tuple[list[str], list[str]]:
    """What is not on disk: notes (nobody has it) and problems (some have it, and some not).

    Compared within one folder: in the older archive, ``testing/`` has no masks by its nature.
    """
    notes, problems = [], []
    for parent in sorted({files.folder.parent for files in views}):
        group = [files for files in views if files.folder.parent == parent]
        for view in VIEWS:
            same_view = [files for files in group if files.view == view]
            shown = [files for files in same_view if files.has_images]
            _compare(parent, f"{view} view", same_view, lambda f: f.has_images, notes, problems)
            for what, has in _PARTS.items():
                _compare(parent, f"{view} {what}", shown, has, notes, problems)
    return notes, problems


_PARTS = {
    "sequence": lambda files: files.film is not None,
    "mask of the sequence": lambda files: files.film is None or files.film.label is not None,
    "Info file": lambda files: files.info is not None,
}
for _instant in INSTANTS:
    _PARTS[f"{_instant} image"] = lambda files, i=_instant: i in files.stills
    _PARTS[f"{_instant} mask"] = lambda files, i=_instant: (
        i not in files.stills or files.stills[i].label is not None
    )


def _compare(parent: Path, what: str, group: list[ViewFiles], has, notes, problems) -> None:
    lacking = [files for files in group if not has(files)]
    if lacking and len(lacking) == len(group):
        notes.append(f"{parent}: no {what} of any of the {len(group)} patients")
    else:
        problems += [
            f"{files.folder}: no {what}, which {len(group) - len(lacking)} other patients have"
            for files in lacking
        ]


def check_splits(root: Path, patients: Iterable[str]) -> tuple[Table | None, list[str], list[str]]:
    """Compare the split lists with the patients on disk: a table, notes and problems."""
    try:
        folder = find_split_folder(root)
    except DataError as error:
        return None, [str(error)], []
    try:
        lists = read_split_files(folder)
    except DataError as error:
        return None, [], [str(error)]
    patients = set(patients)
    table = Table("subset", "listed", "on disk", title=escape(f"Splits in {folder}"))
    problems = []
    for subset, listed in lists.items():
        absent = [name for name in listed if name not in patients]
        table.add_row(subset, str(len(listed)), str(len(listed) - len(absent)))
        problems += [f"{folder}: {name} of {subset} is not on disk" for name in absent]
        if not listed:
            problems.append(f"{folder}: no patient in {subset}, wanted at least one")
    unlisted = patients.difference(*lists.values())
    notes = [f"{folder}: {len(unlisted)} patients on disk are in no list"] if unlisted else []
    return table, notes, problems


def tables(total: Finding) -> Iterator[Table]:
    """The findings as tables."""
    images = [*INSTANTS, "sequence"]
    kinds = [*(kind for image in images for kind in (image, f"{image} mask")), "Info"]
    files = Table("files", *VIEWS, title="Files and grades")
    for kind in (*kinds, *QUALITIES, "no grade"):
        files.add_row(kind, *(str(total.files[view, kind]) for view in VIEWS))
    yield files
    values = Table("what", "found", title="Images and masks")
    if total.sizes:
        rows, cols = zip(*total.sizes, strict=True)
        values.add_row("rows x columns", f"{min(rows)}-{max(rows)} x {min(cols)}-{max(cols)}")
        values.add_row("spacing (dy, dx), mm", _counted(total.spacings))
        values.add_row("pixels", f"{total.darkest} to {total.brightest}")
    if total.lengths:
        values.add_row("frames a sequence", f"{min(total.lengths)} to {max(total.lengths)}")
    names = {0: "background"} | {value: k for k, value in CAMUSDataset.label_values.items()}
    named = {f"{value} {names.get(value, '?')}": n for value, n in sorted(total.labels.items())}
    values.add_row("label values: masks", _counted(Counter(named)))
    yield values


def _counted(counter: Counter) -> str:
    shown = [f"{key}: {count}" for key, count in counter.items()]
    return ", ".join(shown[:8]) + (f", and {len(shown) - 8} more" if len(shown) > 8 else "")


def read_all(views: list[ViewFiles], processes: int, console: Console) -> Finding:
    """Check all views."""
    total = Finding()
    for finding in _each(check_view, views, processes, console, "reading"):
        total.add(finding)
    return total


def _each(check, items: list, processes: int, console: Console, what: str) -> Iterator:
    """Check under a progress bar, in this process where ``processes`` is 1."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=len(items))
        pool = nullcontext() if processes == 1 else ProcessPoolExecutor(processes)
        with pool as several:
            found = map(check, items) if processes == 1 else several.map(check, items, chunksize=4)
            for one in found:
                progress.advance(task)
                yield one


def check_films(kind: type[FilmDataset], root: Path, processes: int, console: Console) -> int:
    """Check a data set of films; the status is 1 where there is a problem."""
    total, table = FilmFinding(), Table("subset", "patients", "films", title="Subsets")
    for subset, data, films in subsets_of(kind, root):
        table.add_row(subset, str(patients_of(films)), str(len(films)))
        total.problems += data.problems
        check = partial(check_film, data=data)
        for finding in _each(check, films, processes, console, subset):
            total.add(finding)
    console.print(f"\n{root}: {kind.__name__}", markup=False)
    console.print(table)
    values = Table("what", "found", title="Films and masks")
    values.add_row("frames", f"{total.counts['frames']}, {total.counts['labelled']} with masks")
    values.add_row("rows x columns", _counted(Counter({_by(k): n for k, n in total.sizes.items()})))
    if total.lengths:
        values.add_row("frames a film", f"{min(total.lengths)} to {max(total.lengths)}")
    values.add_row("pixels", _counted(total.pixels))
    console.print(values)
    for problem in total.problems:
        console.print(f"problem: {problem}", highlight=False, markup=False)
    console.print(f"{len(total.problems)} problems, 0 notes")
    return 1 if total.problems else 0


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


@one_line_errors
def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_root(parser)
    add_workers(parser)
    args = parser.parse_args()
    console = Console(soft_wrap=True)
    root = resolve_data_root(args.root)
    if (kind := data_set_of(root)) is not None:
        return check_films(kind, root, args.workers, console)
    patients = find_patients(root)
    views = [files for name, folder in patients.items() for files in scan_patient(name, folder)]
    total = read_all(views, args.workers, console)
    split_table, split_notes, split_problems = check_splits(root, patients)
    notes, problems = find_missing(views)
    notes, problems = notes + split_notes, problems + split_problems + total.problems
    console.print(f"\n{root}: {len(patients)} patients", markup=False)
    for table in (*tables(total), *([split_table] if split_table else [])):
        console.print(table)
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    for problem in problems:
        console.print(f"problem: {problem}", highlight=False, markup=False)
    console.print(f"{len(problems)} problems, {len(notes)} notes")
    return 1 if problems else 0
