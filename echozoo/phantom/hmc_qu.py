"""Generated patients in the layout of HMC-QU: videos, a sheet, and masks of one cycle's wall."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from echozoo.errors import EchoZooError
from echozoo.films.video_writer import write_video
from echozoo.phantom.patients import PhantomOptions, film_patient, patient_name
from echozoo.whole_files import written_whole

_ECHOS, _MASKS, _SHEET = "HMC-QU Echos", "LV Ground-truth Segmentation Masks", "HMC_QU.xlsx"
PARTS = (_ECHOS, _MASKS, _SHEET, ".rows")
SIDE, RATE = 224, 25  # of masks, which have a grid of their own
_COLUMNS = ("ECHO", "Reference Frame", "End of Cycle", "LV Wall Ground-truth Segmentation Masks")


def place(root: str | Path, number: int) -> Path:
    """What is there where a patient is written: its rows of the sheet."""
    return Path(root) / ".rows" / f"{patient_name(number)}.json"


def prepare(root: Path, options: PhantomOptions) -> None:
    """Nothing: the sheet comes last.

    Raises:
        EchoZooError: openpyxl is not installed.
    """
    _need_openpyxl()


def write_patient(root: str | Path, number: int, options: PhantomOptions) -> None:
    """Film the four-chamber view over more than a cycle; every fourth patient twice.

    Every fifth patient's films have no masks, as a third of the data set's.

    Args:
        root: The phantom's folder.
        number: From 1 on.
        options: The phantom's.
    """
    root, film = Path(root), film_patient(number, options, "4CH")
    last = len(film.images) - 1
    cycle = [*range(last + 1), *range(last - 1, -1, -1)]
    rows = []
    for take in range(1, 2 + (number % 4 == 0)):
        name, before = f"{patient_name(number)}_4CH_{take}", [*range(take, 0, -1)]
        order, masked = [*before, *cycle, 1], number % 5 != 0
        write_video(root / _ECHOS / _ECHOS / f"{name}.avi", film.images[order], RATE)
        if masked:
            wall = [_small((film.labels[k] == 2).astype(np.uint8)) for k in cycle]
            _write_masks(root / _MASKS / f"Mask_{name}.mat", np.stack(wall))
        first = len(before) + 1  # the sheet counts from 1
        rows.append([name, first, first + len(cycle) - 1, "ü" if masked else "x"])
    place(root, number).parent.mkdir(exist_ok=True)
    with written_whole(place(root, number)) as part:
        part.write_text(json.dumps(rows), "utf-8")


def finish(root: Path, options: PhantomOptions) -> None:
    """Put the rows of all patients into the sheet."""
    book = _need_openpyxl().Workbook()
    book.active.append(_COLUMNS)
    for number in range(1, options.patients + 1):
        for row in json.loads(place(root, number).read_text()):
            book.active.append(row)
    with written_whole(root / _SHEET) as part:
        book.save(part)


def _write_masks(path: Path, masks: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    with written_whole(path) as part:
        savemat(part, {"predicted": masks}, appendmat=False)


def _small(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def _need_openpyxl():
    try:
        import openpyxl
    except ImportError as error:
        raise EchoZooError(
            "the layout hmc_qu needs openpyxl: pip install 'echozoo[hmc_qu]'"
        ) from error
    return openpyxl
