"""HMC-QU: four-chamber films with the wall of the left ventricle in every frame of a cycle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from echozoo.datasets.film_dataset import FilmDataset
from echozoo.datasets.films import FilmFiles
from echozoo.datasets.mask_files import keep_masks
from echozoo.errors import DataError, EchoZooError, one_line
from echozoo.films.cache import cached_volume
from echozoo.registry import DATASETS

SHEET = "HMC_QU.xlsx"
FILMS = Path("HMC-QU Echos", "HMC-QU Echos")
MASKS = Path("LV Ground-truth Segmentation Masks")
NAME, FIRST, LAST = "ECHO", "Reference Frame", "End of Cycle"
MASKED = "LV Wall Ground-truth Segmentation Masks"
YES = "ü"


@DATASETS.register_module()
class HMCQUDataset(FilmDataset):
    """Clips of HMC-QU (A. Degerli et al., 2021), split by patient: "ratio" (7:1:2).

    The folder holds HMC_QU.xlsx, the films and, for 109 of 162, masks of one whole cycle. They are
    of the myocardium alone, on a grid of their own: here resized to the film's, and written into
    the cache. Frames before and after the cycle have no labels. Pixels have no known size, and no
    frame is named ED or ES. Reading the sheet needs openpyxl.

    Args:
        data_root: The folder.
        **options: Of `FilmDataset`.

    Raises:
        DataError: The sheet is absent or lacks a column.
        EchoZooError: openpyxl is not installed.
    """

    label_values = {"myo": 1}

    def find_films(self, root: Path) -> Iterator[FilmFiles]:
        """Yield the films of this subset; what is wrong with one is a line of ``problems``."""
        rows = read_sheet(root / SHEET)
        chosen = self.chosen(patient_of(str(row[NAME])) for row in rows)
        for row in rows:
            if patient_of(str(row[NAME])) in chosen:
                try:
                    yield self._film(root, row)
                except DataError as error:
                    self.problems.append(one_line(error))

    def _film(self, root: Path, row: dict[str, Any]) -> FilmFiles:
        name = str(row[NAME]).strip()
        image, labels = root / FILMS / f"{name}.avi", {}
        if str(row.get(MASKED) or "").strip() == YES:
            frames = cached_volume(image, self.cache_dir).array.shape
            first, stop = _cycle(root / SHEET, name, row, frames[0])
            masks = read_masks(root / MASKS / f"Mask_{name}.mat", stop - first, frames[1:])
            file = keep_masks(self.cache_dir, name, masks)
            labels = {first + k: (file, k) for k in range(stop - first)}
        return self.film(patient_of(name), "4CH", image, labels, sequence=name)


def patient_of(name: str) -> str:
    """The patient of a recording: what comes before the first "_" or blank."""
    return re.split(r"[_ ]", name.strip())[0]


def read_sheet(path: Path) -> list[dict[str, Any]]:
    """Read the rows of HMC_QU.xlsx below the one that names the columns.

    Raises:
        DataError: It cannot be read, or lacks a column.
        EchoZooError: openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise EchoZooError(f"{path}: needs openpyxl: pip install 'echozoo[hmc_qu]'") from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = [list(row) for row in book.active.iter_rows(values_only=True)]
    except Exception as error:  # a damaged archive fails in many ways
        raise DataError(
            f"{path}: cannot be read as a sheet ({' '.join(str(error).split())[:100]}); wanted the"
            " folder of HMC-QU"
        ) from error
    wanted = (NAME, FIRST, LAST, MASKED)
    heads = [[str(cell or "").strip() for cell in row] for row in rows]
    place = next((k for k, head in enumerate(heads) if NAME in head), 0)
    absent = [name for name in wanted if not heads or name not in heads[place]]
    if absent:
        raise DataError(f"{path}: no column {absent[0]!r}, wanted {', '.join(wanted)}")
    found = [dict(zip(heads[place], row, strict=True)) for row in rows[place + 1 :]]
    return [row for row in found if row[NAME] not in (None, "")]


def read_masks(path: Path, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Read the masks of a cycle, resized to the film by the nearest pixel.

    Args:
        path: A .mat file with ``predicted`` (T, h, w).
        frames: T that the sheet says.
        size: (H, W) of the film.

    Returns:
        (T, H, W) uint8, 1 for the wall.

    Raises:
        DataError: The file cannot be read, or holds other masks.
    """
    from scipy.io import loadmat

    try:
        masks = loadmat(path, variable_names=["predicted"]).get("predicted")
    except Exception as error:  # of a damaged file as of one that is no .mat at all
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path}: cannot be read as a .mat file ({reason})") from error
    if masks is None or masks.ndim != 3 or len(masks) != frames:
        found = "no variable 'predicted'" if masks is None else f"masks of shape {masks.shape}"
        raise DataError(f"{path}: {found}, wanted 'predicted' of {frames} frames (T, H, W)")
    width_first = size[::-1]
    resized = [
        cv2.resize((mask != 0).astype(np.uint8), width_first, interpolation=cv2.INTER_NEAREST_EXACT)
        for mask in masks
    ]
    return np.stack(resized)


def _cycle(path: Path, name: str, row: dict[str, Any], length: int) -> tuple[int, int]:
    """The cycle's first frame, from 0, and the one after its last; the sheet counts from 1."""
    try:
        first, last = int(row[FIRST]), int(row[LAST])
    except (TypeError, ValueError):
        first = last = 0
    if not 1 <= first <= last <= length:
        raise DataError(
            f"{path}: {name}: cycle from {row[FIRST]!r} to {row[LAST]!r}, wanted frames from 1 to"
            f" {length}, those of the film"
        )
    return first - 1, last
