"""Generated patients in the layout of CAMUS's NIfTI release of 2023."""

from __future__ import annotations

from pathlib import Path

from echozoo.films.io import write_volume
from echozoo.phantom.anatomy import Ventricle
from echozoo.phantom.film import PhantomFilm
from echozoo.phantom.patients import (
    VIEWS,
    PatientCard,
    PhantomOptions,
    draw_patient,
    film_patient,
    patient_name,
    split_patients,
)
from echozoo.whole_files import written_whole

PARTS = ("database_nifti", "database_split")
_SYSTOLE = 0.33  # seconds from ED to ES


def place(root: str | Path, number: int) -> Path:
    """What is there where a patient is written: its folder."""
    return Path(root) / "database_nifti" / patient_name(number)


def prepare(root: Path, options: PhantomOptions) -> None:
    """Write the lists of the subsets."""
    folder = root / "database_split"
    folder.mkdir(exist_ok=True)
    for subset, numbers in split_patients(options).items():
        path = folder / f"subgroup_{subset}.txt"
        if not path.is_file():
            with written_whole(path) as part:
                part.write_text("".join(f"{patient_name(k)}\n" for k in numbers), "utf-8")


def finish(root: Path, options: PhantomOptions) -> None:
    """Nothing: each patient's folder is whole."""


def write_patient(root: str | Path, number: int, options: PhantomOptions) -> Path:
    """Render one patient and write its folder; a folder in place is always whole.

    Args:
        root: The phantom's folder.
        number: From 1 on.
        options: The phantom's.
    """
    name = patient_name(number)
    partial, final = Path(root) / ".partial" / name, place(root, number)
    ventricle, card = draw_patient(number, options)
    partial.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        film = film_patient(number, options, view)
        _write_film(partial, f"{name}_{view}", film, card.reversed)
        info = _info(ventricle, card, view)
        (partial / f"Info_{view}.cfg").write_text(info, encoding="utf-8")
    final.parent.mkdir(exist_ok=True)
    return partial.rename(final)


def _write_film(folder: Path, stem: str, film: PhantomFilm, backwards: bool) -> None:
    step = -1 if backwards else 1
    spacing = (film.spacing, film.spacing)
    for suffix, array in (("", film.images), ("_gt", film.labels)):
        write_volume(folder / f"{stem}_ED{suffix}.nii.gz", array[0], spacing)
        write_volume(folder / f"{stem}_ES{suffix}.nii.gz", array[-1], spacing)
        write_volume(folder / f"{stem}_half_sequence{suffix}.nii.gz", array[::step], spacing)


def _info(ventricle: Ventricle, card: PatientCard, view: str) -> str:
    last = card.frames[view]
    first_is_es = card.reversed
    entries = {
        "ED": last if first_is_es else 1,
        "ES": 1 if first_is_es else last,
        "NbFrame": last,
        "Sex": card.sex,
        "Age": card.age,
        "ImageQuality": card.quality[view],
        "EF": round(ventricle.ejection_fraction),
        "FrameRate": round((max(card.frames.values()) - 1) / _SYSTOLE, 1),
        "LVedv": round(ventricle.edv, 1),
        "LVesv": round(ventricle.esv, 1),
    }
    return "".join(f"{key}: {value}\n" for key, value in entries.items())
