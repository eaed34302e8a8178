"""What there is to segment: films in folders, and where the results of each go."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echozoo.apis.in_memory import FileOfBytes
from echozoo.errors import DataError
from echozoo.films.film import film_name, is_film_file

Source = str | Path | np.ndarray
SUMMARY_FILE = "summary.json"
LABEL_FILE = "labels.nii.gz"
GREY_FILE = "film.nii.gz"
SEG_FILE = "labels.seg.dcm"
_REFERENCE = ("_gt", "_seg", "_label", "_labels")


@dataclass
class LeftOut:
    """What of some folders is not segmented.

    Attributes:
        files: Name and reason of those that are references or no films.
        results: Folders with results of an earlier run.
    """

    files: list[tuple[str, str]] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)


def find_films(
    sources: Sequence[Path | np.ndarray], out: Path | None
) -> tuple[list[tuple[Source, Path]], LeftOut]:
    """List films.

    Args:
        sources: Films, folders of films and arrays, as `plain_sources` returns them.
        out: Where results go: nothing below it is a film.

    Returns:
        Films, each with the place of its results below ``out``; and what is none.

    Raises:
        DataError: There is no film.
    """
    jobs: list[tuple[Source, Path]] = []
    left_out = LeftOut()
    for one in sources:
        if isinstance(one, np.ndarray):
            jobs.append((one, Path("array")))
            continue
        path = one
        if not path.is_dir():
            name = "bytes" if isinstance(path, FileOfBytes) else film_name(path)
            jobs.append((path, Path(name)))
            continue
        found = _films_below(path, out, left_out)
        jobs += [(file, file.parent.relative_to(path) / film_name(file)) for file in found]
    if not jobs:
        what = "nothing given" if not sources else f"{sources[0]}: no films in this folder"
        raise DataError(f"{what}; wanted NIfTI, .mhd, DICOM, AVI, MP4, PNG or JPEG")
    return jobs, left_out


def _films_below(folder: Path, out: Path | None, left_out: LeftOut) -> list[Path]:
    films = []
    results = None if out is None else out.resolve()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here.resolve() == results or _holds_results(here, files):
            left_out.results += [here] if here.resolve() != results else []
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = here / name
            stem = film_name(path).lower()
            if name.startswith(".") or not is_film_file(path):
                left_out.files.append((str(path.relative_to(folder)), "no film by its name"))
            elif stem.endswith(_REFERENCE):
                left_out.files.append((str(path.relative_to(folder)), "a reference by its name"))
            else:
                films.append(path)
    return films


def _holds_results(folder: Path, files: Sequence[str]) -> bool:
    """Whether a folder was written by us: others' programs write a summary.json too."""
    if not {SUMMARY_FILE, LABEL_FILE} <= set(files):
        return False
    try:
        return "echozoo" in json.loads((folder / SUMMARY_FILE).read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def unique_names(jobs: Iterable[tuple[Source, Path]]) -> list[Path]:
    """Places of results; films that differ in their suffix only keep it, others are numbered."""
    jobs = list(jobs)
    counts: dict[Path, int] = {}
    for _, place in jobs:
        counts[place] = counts.get(place, 0) + 1
    taken: set[Path] = set()
    places = []
    for source, place in jobs:
        if counts[place] > 1 and isinstance(source, Path):
            place = place.with_name(source.name)
        name, number = place, 2
        while name in taken:
            name, number = place.with_name(f"{place.name}_{number}"), number + 1
        taken.add(name)
        places.append(name)
    return places
