"""EchoNet-Dynamic: four-chamber films whose left ventricle is traced at ED and ES."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echozoo.datasets.film_dataset import FilmDataset
from echozoo.datasets.films import FilmFiles, FrameFiles
from echozoo.datasets.info import Info
from echozoo.datasets.mask_files import keep_masks
from echozoo.datasets.tracings import traced_mask
from echozoo.errors import DataError
from echozoo.registry import DATASETS

FILE_LIST, TRACINGS = "FileList.csv", "VolumeTracings.csv"
ROWS = 21  # of a traced frame: the long axis and 20 chords
_SUBSETS = {"TRAIN": "train", "VAL": "val", "TEST": "test"}
_CORNERS = ("X1", "Y1", "X2", "Y2")


@dataclass(frozen=True)
class ListedFilm:
    """A row of FileList.csv."""

    subset: str
    size: tuple[int, int]
    length: int
    info: Info


@DATASETS.register_module()
class EchoNetDataset(FilmDataset):
    """Clips of EchoNet-Dynamic (D. Ouyang et al., Nature 2020), by its own subsets.

    The folder holds FileList.csv, VolumeTracings.csv and Videos/. The larger of the traced masks
    is ED, the smaller ES, whichever comes first in the film. Films whose tracings are not two
    frames of 21 rows or more, and those whose file is not there, are left out, which is said once.
    Pixels have no known size: distances are in pixels, EF is that of the four-chamber view. The
    masks are written into the cache.

    Args:
        data_root: The folder.
        split: "files": the column Split of FileList.csv.
        **options: Of `FilmDataset`.

    Raises:
        DataError: A table is absent, or a value in it is not what it has to be.
    """

    label_values = {"lv": 1}
    splits = ("files",)

    def __init__(self, data_root: str | None = None, split: str = "files", **options) -> None:
        super().__init__(data_root, split=split, **options)

    def split_patients(self, names: Sequence[str]) -> list[str]:
        """Name the films of this subset: every film is another patient's."""
        return [name for name in names if self._listed[name].subset == self.subset]

    def find_films(self, root: Path) -> Iterator[FilmFiles]:
        """Yield the films of this subset that have a file and usable tracings."""
        self._listed = read_file_list(root / FILE_LIST)
        tracings = read_tracings(root / TRACINGS)
        for name in self.chosen(self._listed):
            problem = self._problem(name, tracings.get(name, {}))
            if problem:
                self.problems.append(problem)
            else:
                yield self._film(name, tracings[name])

    def _problem(self, name: str, traced: dict[int, np.ndarray]) -> str:
        """What is wrong with a film, "" for nothing."""
        length = self._listed[name].length
        counts = sorted({len(rows) for rows in traced.values()})
        where = f"{self.root / TRACINGS}: {name}"
        if not self._file(name).is_file():
            return f"{self._file(name)}: no such file, {FILE_LIST} names it"
        if len(traced) < 2:
            return f"{where}: {len(traced)} traced frames, wanted two"
        if counts != [ROWS]:
            found = " and ".join(map(str, counts))
            return f"{where}: {found} rows a frame, wanted {ROWS}"
        if max(traced) >= length:
            return f"{where}: frame {max(traced)} is traced, wanted 0 to {length - 1}"
        return ""

    def _film(self, name: str, traced: dict[int, np.ndarray]) -> FilmFiles:
        film, frames = self._listed[name], sorted(traced)
        masks = np.stack([traced_mask(traced[frame], film.size) for frame in frames])
        file = str(keep_masks(self.cache_dir, name, masks))
        areas = masks.sum((1, 2))
        marks = {frames[areas.argmin()]: "ES", frames[areas.argmax()]: "ED"}
        image, places = str(self._file(name)), {frame: k for k, frame in enumerate(frames)}
        files = tuple(
            FrameFiles(image, file, k, places[k]) if k in places else FrameFiles(image, None, k)
            for k in range(film.length)
        )
        instants = tuple(marks.get(k, "") for k in range(film.length))
        return FilmFiles(name, "4CH", files, instants, sequence=name, info=film.info)

    def _file(self, name: str) -> Path:
        return self.root / "Videos" / f"{name}.avi"


def read_file_list(path: Path) -> dict[str, ListedFilm]:
    """Read FileList.csv: by the film's name, sorted.

    Raises:
        DataError: It is absent, lacks a column, or has a value that is none.
    """
    wanted = ("FileName", "EF", "FrameHeight", "FrameWidth", "NumberOfFrames", "Split")
    films = {}
    for line, row in _rows(path, wanted):
        size = tuple(_whole(path, line, row, key) for key in ("FrameHeight", "FrameWidth"))
        if row["Split"].upper() not in _SUBSETS:
            raise DataError(
                f"{path}, line {line}: Split is {row['Split']!r}, wanted {', '.join(_SUBSETS)}"
            )
        info = Info(
            ef=_number(path, line, row, "EF"),
            edv=_number(path, line, row, "EDV") if row.get("EDV") else None,
            esv=_number(path, line, row, "ESV") if row.get("ESV") else None,
            source=path.name,
        )
        length = _whole(path, line, row, "NumberOfFrames")
        films[_film_name(row)] = ListedFilm(_SUBSETS[row["Split"].upper()], size, length, info)
    if not films:
        raise DataError(f"{path}: no film is listed, wanted one a line")
    return dict(sorted(films.items()))


def read_tracings(path: Path) -> dict[str, dict[int, np.ndarray]]:
    """Read VolumeTracings.csv: by film and frame, from 0, its rows (n, 4) of X1, Y1, X2, Y2.

    Raises:
        DataError: It is absent, lacks a column, or has a value that is no number.
    """
    found: dict[str, dict[int, list]] = {}
    for line, row in _rows(path, ("FileName", *_CORNERS, "Frame")):
        corners = [_number(path, line, row, key) for key in _CORNERS]
        frame = _whole(path, line, row, "Frame", least=0)
        found.setdefault(_film_name(row), {}).setdefault(frame, []).append(corners)
    return {
        name: {frame: np.array(rows) for frame, rows in frames.items()}
        for name, frames in found.items()
    }


def _film_name(row: dict[str, str]) -> str:
    return row["FileName"].removesuffix(".avi")


def _rows(path: Path, wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a table with their lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            table = csv.DictReader(file)
            absent = [name for name in wanted if name not in (table.fieldnames or ())]
            if absent:
                raise DataError(
                    f"{path}: no column {absent[0]}, wanted {', '.join(wanted)}: is this the"
                    " table of EchoNet-Dynamic?"
                )
            for row in table:
                yield table.line_num, {key: (row[key] or "").strip() for key in row if key}
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); wanted the folder of EchoNet-Dynamic, with"
            f" {FILE_LIST}, {TRACINGS} and Videos"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: not readable as a table ({error}); copy it again") from error


def _number(path: Path, line: int, row: dict[str, str], key: str) -> float:
    try:
        value = float(row[key])
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(f"{path}, line {line}: {key} is {row[key]!r}, wanted a number")
    return value


def _whole(path: Path, line: int, row: dict[str, str], key: str, least: int = 1) -> int:
    value = _number(path, line, row, key)
    if value != int(value) or value < least:
        raise DataError(
            f"{path}, line {line}: {key} is {row[key]!r}, wanted a whole number from {least} on"
        )
    return int(value)
