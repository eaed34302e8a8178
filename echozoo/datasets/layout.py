"""Which files of CAMUS are on disk: patients, views, stills, films, Info files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from echozoo.datasets.anatomy import INSTANTS, VIEWS
from echozoo.errors import ConfigError, DataError
from echozoo.films.io import IMAGE_SUFFIXES
from echozoo.notices import notice

# Where patients may be below the data folder: the archive of 2023, the folder of patients itself,
# the two folders of the older archive.
_PATIENT_FOLDERS = ("database_nifti", "", "training", "testing")
FILM_NAMES = ("half_sequence", "sequence")


class ImagePair(NamedTuple):
    """An image file and its mask, which may be absent."""

    image: Path
    label: Path | None


@dataclass(frozen=True)
class ViewFiles:
    """The files of one view of one patient.

    Attributes:
        patient: "patient0001".
        view: "2CH" or "4CH".
        folder: Where they are.
        stills: The ED and ES images that are there, by "ED" and "ES".
        film: The sequence, or None.
        info: The Info file, or None.
    """

    patient: str
    view: str
    folder: Path
    stills: dict[str, ImagePair] = field(default_factory=dict)
    film: ImagePair | None = None
    info: Path | None = None

    @property
    def has_images(self) -> bool:
        """Whether there is any image of this view."""
        return bool(self.stills) or self.film is not None


def resolve_data_root(data_root: str | Path | None) -> Path:
    """The data folder that was told, or the environment's CAMUS_ROOT.

    Raises:
        ConfigError: Neither is given.
        DataError: There is no such folder.
    """
    told = data_root or os.environ.get("CAMUS_ROOT")
    if not told:
        raise ConfigError(
            "no data folder: pass --data-root FOLDER (data_root in a config) or set the"
            " environment variable CAMUS_ROOT to the folder of CAMUS"
        )
    root = Path(told).expanduser()
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; pass --data-root FOLDER or set CAMUS_ROOT to the folder that"
            " holds CAMUS"
        )
    return root


def find_patients(root: Path) -> dict[str, Path]:
    """Find the patients' folders in either layout: name -> folder, sorted by name.

    The older archive numbers the patients of ``testing/`` from 1 again: where a name is in
    ``training/`` too, the one in ``testing/`` is left out, which is said once.

    Raises:
        DataError: There is no patient.
    """
    patients: dict[str, Path] = {}
    doubles = []
    for place in _PATIENT_FOLDERS:
        parent = root / place
        if not parent.is_dir():
            continue
        for name in sorted(filter(re.compile(r"patient\w+").fullmatch, _list(parent))):
            if name in patients:
                doubles.append(name)
            elif (parent / name).is_dir():
                patients[name] = parent / name
    if not patients:
        raise DataError(
            f"{root}: no patient folder (patient0001, …) found there, nor in database_nifti/,"
            " training/ or testing/ below it; wanted the folder that holds them"
        )
    if doubles:
        notice(
            f"{root}: {len(doubles)} patient names are there twice ({doubles[0]}, …): the second"
            " ones are left out; rename them to use them"
        )
    return dict(sorted(patients.items()))


def scan_patient(patient: str, folder: Path) -> list[ViewFiles]:
    """The files of both views of a patient; a view without any image is there, but empty."""
    names = set(_list(folder))

    def find(stem: str) -> Path | None:
        found = [stem + suffix for suffix in IMAGE_SUFFIXES if stem + suffix in names]
        return folder / found[0] if found else None

    def pair(stem: str) -> ImagePair | None:
        image = find(stem)
        return ImagePair(image, find(f"{stem}_gt")) if image else None

    views = []
    for view in VIEWS:
        stills = {instant: pair(f"{patient}_{view}_{instant}") for instant in INSTANTS}
        films = [pair(f"{patient}_{view}_{name}") for name in FILM_NAMES]
        infos = (f"Info_{view}.cfg", f"{patient}_{view}_info.cfg")
        views.append(
            ViewFiles(
                patient,
                view,
                folder,
                stills={instant: files for instant, files in stills.items() if files},
                film=next((film for film in films if film), None),
                info=next((folder / name for name in infos if name in names), None),
            )
        )
    return views


def _list(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
