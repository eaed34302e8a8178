"""The Info files beside the images of a view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from echozoo.errors import DataError


@dataclass(frozen=True)
class Info:
    """What an Info_*.cfg file says, of either generation; None where it says nothing.

    Attributes:
        ed, es: Frames of the film, counted from 0 (the file counts from 1).
        num_frames: Length of the film.
        sex, age: "F" or "M"; years.
        quality: "Good", "Medium" or "Poor".
        ef: Ejection fraction, percent.
        edv, esv: Volumes in ml; only the older files have them.
        frame_rate: Frames a second; only the files of 2023 have it.
        source: What says it, where that is no Info file.
    """

    ed: int | None = None
    es: int | None = None
    num_frames: int | None = None
    sex: str | None = None
    age: float | None = None
    quality: str | None = None
    ef: float | None = None
    edv: float | None = None
    esv: float | None = None
    frame_rate: float | None = None
    source: str = ""


_INFO_FIELDS = {
    "ed": "ed",
    "es": "es",
    "nbframe": "num_frames",
    "sex": "sex",
    "age": "age",
    "imagequality": "quality",
    "ef": "ef",
    "lvef": "ef",
    "lvedv": "edv",
    "lvesv": "esv",
    "framerate": "frame_rate",
}


def read_info(path: str | Path) -> Info:
    """Read an Info_*.cfg file, lines of ``Key: value``; unknown keys are passed over.

    Raises:
        DataError: The file cannot be read, or a value is not the number it has to be.
    """
    path = Path(path)
    fields = {}
    for line in _read_text(path).splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        field = _INFO_FIELDS.get(key.lower())
        if field and value and value.lower() not in ("nan", "none", "n/a"):
            fields[field] = _info_value(path, key, field, value)
    return Info(**fields)


def _info_value(path: Path, key: str, field: str, value: str) -> str | int | float:
    if field in ("sex", "quality"):
        return value.capitalize()
    try:
        number = float(value)
    except ValueError:
        raise DataError(f"{path}: {key} is {value!r}, wanted a number") from None
    if not (math.isfinite(number) and number >= 0):
        raise DataError(f"{path}: {key} is {value!r}, wanted a finite number of 0 or more")
    if field not in ("ed", "es", "num_frames"):
        return number
    if number < 1 or number != int(number):
        raise DataError(f"{path}: {key} is {value!r}, wanted a whole number from 1 on")
    return int(number) if field == "num_frames" else int(number) - 1


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
