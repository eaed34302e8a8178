"""Results in CAMUS's layout: to be measured by echozoo measure, or trained on as pseudo-labels."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from echozoo.apis.sources import GREY_FILE, LABEL_FILE
from echozoo.errors import StorageError
from echozoo.films.apart import open_film_apart
from echozoo.films.io import read_volume, write_volume
from echozoo.studies.exams import Candidate, Exam
from echozoo.studies.tables import write_text

FOLDER = "camus"
PATIENTS_FILE = "patients.csv"


def write_as_camus(out: Path, exams: Sequence[Exam]) -> None:
    """Write the chosen film of each view: its ED and ES, the frames from one to the other, masks.

    Exams without a view in mm are passed by. Patients keep a name of CAMUS's form; others are
    numbered, and ``patients.csv`` says which exam each one is.

    Args:
        out: Folder of the results; they go to ``camus/`` in it.
        exams: What `find_exams` returned.

    Raises:
        DataError: A film is no longer where it was.
        StorageError: A file cannot be written.
    """
    root, rows = out / FOLDER, ["patient,exam"]
    left = {exam.patient for exam in exams if re.fullmatch(r"patient\w+", exam.patient)}
    named = frozenset(left)
    numbers = (f"patient{number:04d}" for number in itertools.count(1))
    free = (name for name in numbers if name not in named)
    for exam in exams:
        views = {view: found[0] for view, found in exam.views.items() if found[0].in_mm}
        if not views:
            continue
        patient = exam.patient if exam.patient in left else next(free)
        left.discard(exam.patient)  # another exam of this patient is numbered
        rows.append(f"{patient},{(exam.folder / exam.patient).as_posix()}")
        for view, one in views.items():
            stem = root / "database_nifti" / patient / f"{patient}_{view}"
            _write_view(out, exam, one, stem)
    try:
        root.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError.of(root, error) from error
    write_text(root / PATIENTS_FILE, "\n".join(rows) + "\n")


def _write_view(out: Path, exam: Exam, one: Candidate, stem: Path) -> None:
    films = {film.place.name: film for film in exam.films}
    chosen = [films[one.sources[instant]] for instant in ("ED", "ES")]
    spacing = tuple(chosen[0].summary["spacing_mm"])
    places = zip(chosen, ("ed_frame", "es_frame"), strict=True)
    frames = [film.summary[key] or 0 for film, key in places]
    volumes = [_volumes(out / film.place, film.summary["file"]) for film in chosen]
    for instant, frame, both in zip(("ED", "ES"), frames, volumes, strict=True):
        for end, array in zip(("", "_gt"), both, strict=True):
            write_volume(f"{stem}_{instant}{end}.nii.gz", array[frame], spacing)
    if chosen[0] is chosen[1]:
        step = 1 if frames[0] <= frames[1] else -1
        between = np.arange(frames[0], frames[1] + step, step)
        for end, array in zip(("", "_gt"), volumes[0], strict=True):
            write_volume(f"{stem}_half_sequence{end}.nii.gz", array[between], spacing)


def _volumes(folder: Path, file: str) -> tuple[np.ndarray, np.ndarray]:
    """The grey film and its label maps (T, H, W)."""
    grey = folder / GREY_FILE
    film = open_film_apart(grey if grey.exists() else Path(file))
    return film.frames(), read_volume(folder / LABEL_FILE, label=True).array
