"""What a DICOM header says of a film: numbers that are checked, spacing, frame times."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from echozoo.films.geometry import believed_frame_time, believed_spacing, frame_times

_CENTIMETRES, _2D = 3, 1
DIFFERENT = "ultrasound regions of different spacing"
_FRAME_TIME_VECTOR = 0x00181065


def numbers(header: Any, keyword: str) -> list[float]:
    """The values of an element that are finite numbers; none where it is absent or malformed.

    Text that should be a number (IS, DS) is converted when it is asked for, and what pydicom
    raises then depends on the text: no caller has to know.
    """
    with contextlib.suppress(Exception):
        values = header.get(keyword)
        if values is None or values == "":
            return []
        several = not isinstance(values, (str, bytes)) and hasattr(values, "__iter__")
        found = [float(value) for value in (values if several else [values])]
        return found if all(map(math.isfinite, found)) else []
    return []


def number(header: Any, keyword: str) -> float | None:
    """The one value of an element; None where it is absent, malformed or several."""
    found = numbers(header, keyword)
    return found[0] if len(found) == 1 else None


def whole(header: Any, keyword: str, default: int) -> int:
    """The one value of an element as a whole number, or the default."""
    found = number(header, keyword)
    return default if found is None else int(found)


def text(header: Any, keyword: str) -> str:
    """The value of an element as text, "" where there is none."""
    with contextlib.suppress(Exception):
        return str(header.get(keyword) or "").strip()
    return ""


def spacing_of(header: Any, size: tuple[int, int], notes: list[str]) -> tuple[float, float] | None:
    """(dy, dx) in mm of the image's 2-D regions where they agree, else of the image.

    Args:
        header: The data set.
        size: (H, W).
        notes: Gets a line where a spacing is there that cannot be used.
    """
    regions = [region for region in _regions(header) if _is_2d(region)]
    if not regions:
        steps = numbers(header, "PixelSpacing") or numbers(_shared_measures(header), "PixelSpacing")
        return believed_spacing(steps, notes) if len(steps) == 2 else None
    corners = [_corner(region) for region in regions]
    right, bottom = (max(values) for values in zip(*corners, strict=True))
    if right > size[1] or bottom > size[0]:
        # The image was made smaller after its regions were written: by how much nobody says.
        notes.append(
            f"its ultrasound region ends at pixel ({right}, {bottom}) of an image of"
            f" {size[1]} x {size[0]}: its spacing is that of another size and is not used"
        )
        return None
    found = [_region_spacing(region, notes) for region in regions]
    if found == [None]:
        return None
    if None in found or not np.allclose(found, found[0], rtol=1e-3):
        named = ", ".join("unknown" if s is None else f"{s[0]:g} x {s[1]:g}" for s in found)
        notes.append(
            f"{len(found)} {DIFFERENT} ({named} mm): none is used,"
            " since nobody says which one the structures are in"
        )
        return None
    return found[0]


def times_of(header: Any, count: int, notes: list[str]) -> tuple[float | None, np.ndarray | None]:
    """How far apart frames are in ms, and when each begins where that is uneven.

    FrameIncrementPointer says which of FrameTime and FrameTimeVector counts; without it, the first
    that is there; without either, the frame rate.

    Args:
        header: The data set.
        count: Frames.
        notes: Gets a line where times are there that cannot be used.
    """
    constant, vector = number(header, "FrameTime"), numbers(header, "FrameTimeVector")
    if vector and len(vector) != count:
        notes.append(f"FrameTimeVector has {len(vector)} values for {count} frames: not used")
        vector = []
    if vector and (not constant or _pointer(header) == _FRAME_TIME_VECTOR):
        mean, times = frame_times(np.cumsum(vector), notes)
        if mean is not None:
            return mean, times
    rates = (number(header, key) for key in ("CineRate", "RecommendedDisplayFrameRate"))
    for time in (constant, *(1000 / rate if rate else None for rate in rates)):
        if time and (believed := believed_frame_time(time, notes)):
            return believed, None
    return None, None


def _pointer(header: Any) -> int | None:
    with contextlib.suppress(Exception):
        value = header.get("FrameIncrementPointer")
        return int(value) if isinstance(value, int) else int(value[0])
    return None


def _regions(header: Any) -> list[Any]:
    with contextlib.suppress(Exception):
        return list(header.get("SequenceOfUltrasoundRegions") or [])
    return []


def _shared_measures(header: Any) -> Any:
    """Where enhanced images have the spacing of all their frames."""
    with contextlib.suppress(Exception):
        return header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    return {}


def _is_2d(region: Any) -> bool:
    return (
        number(region, "RegionSpatialFormat") == _2D
        and number(region, "PhysicalUnitsXDirection") == _CENTIMETRES
        and number(region, "PhysicalUnitsYDirection") == _CENTIMETRES
        and "PhysicalDeltaX" in region
        and "PhysicalDeltaY" in region
    )


def _region_spacing(region: Any, notes: list[str]) -> tuple[float, float] | None:
    steps = [number(region, key) for key in ("PhysicalDeltaY", "PhysicalDeltaX")]
    if None in steps:
        notes.append("an ultrasound region without finite PhysicalDeltaX and Y: no spacing of it")
        return None
    return believed_spacing([round(10 * step, 9) for step in steps], notes)  # cm


def _corner(region: Any) -> tuple[int, int]:
    """Its last pixel (x, y)."""
    return whole(region, "RegionLocationMaxX1", 0), whole(region, "RegionLocationMaxY1", 0)
