"""What there is to segment: films in folders, and where the results of each go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from echozoo.errors import DataError
from echozoo.films.film import film_name, is_film_file

Source = str | Path | np.ndarray
SUMMARY_FILE = "summary.json"
_REFERENCE = ("_gt", "_seg", "_label", "_labels")


def find_films(
    source: Source | Sequence[Source], out: Path | None
) -> tuple[list[tuple[Source, Path]], int]:
    """List films.

    Args:
        source: A film, a folder of films, an array, or a list of these.
        out: Where results go: nothing below it is a film.

    Returns:
        Films, each with the place of its results below ``out``; and how many files are none.

    Raises:
        DataError: There is no film.
    """
    sources = [source] if isinstance(source, (str, Path, np.ndarray)) else list(source)
    jobs: list[tuple[Source, Path]] = []
    skipped = 0
    for one in sources:
        if isinstance(one, np.ndarray):
            jobs.append((one, Path("array")))
            continue
        path = Path(one).expanduser()
        if not path.is_dir():
            jobs.append((path, Path(film_name(path))))
            continue
        found, others = _films_below(path, out)
        jobs += [(file, file.parent.relative_to(path) / film_name(file)) for file in found]
        skipped += others
    if not jobs:
        what = "nothing given" if not sources else f"{sources[0]}: no films in this folder"
        raise DataError(f"{what}; wanted NIfTI, .mhd, DICOM, AVI, MP4, PNG or JPEG")
    return jobs, skipped


def _films_below(folder: Path, out: Path | None) -> tuple[list[Path], int]:
    films, others = [], 0
    results = None if out is None else out.resolve()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if (here.resolve() == results) or SUMMARY_FILE in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = here / name
            stem = film_name(path).lower()
            if not name.startswith(".") and is_film_file(path) and not stem.endswith(_REFERENCE):
                films.append(path)
            else:
                others += 1
    return films, others


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
