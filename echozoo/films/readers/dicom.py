"""DICOM cine: pixels frame by frame, spacing from the ultrasound regions, the frame time."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.errors import DataError, EchoZooError
from echozoo.films.readers.source import COLOUR_NOTE, FrameSource, grey

_CENTIMETRES, _TISSUE_2D = 3, 1
_WANTED_TAGS = "wanted an image that pydicom and pylibjpeg decode; copy it again, or convert it"


def is_dicom(path: Path) -> bool:
    """Whether a file says of itself that it is DICOM, whatever its name."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(path: Path) -> FrameSource:
    """Open a DICOM file with one frame or many; only frames that are wanted are decoded.

    Raises:
        EchoZooError: pydicom is not installed.
        DataError: The file is no whole DICOM image, or its pixels cannot be decoded.
    """
    pydicom = _pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # the file decides which
        raise _unreadable(path, error) from error
    count = int(header.get("NumberOfFrames") or 1)
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if count < 1 or not rows or not columns:
        raise DataError(f"{path}: no frames: DICOM without pixels ({_kind(header)}), wanted a film")
    notes: list[str] = []
    to_grey = _PixelRule(header, notes)

    def read(start: int, stop: int) -> np.ndarray:
        return np.stack([to_grey(frame) for frame in _decode(path, start, stop)])  # (n, H, W)

    read(0, 1), read(count - 1, count)  # a truncated file shows at its end
    spacing = _spacing(header, (rows, columns), notes)
    return FrameSource(count, (rows, columns), read, spacing, _frame_time(header), None, notes)


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise EchoZooError(
            "DICOM files need pydicom: pip install -e .[dicom] (in echozoo's folder)"
        ) from error
    return pydicom


def _decode(path: Path, start: int, stop: int) -> list[np.ndarray]:
    from pydicom.pixels import iter_pixels

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames = list(iter_pixels(path, indices=range(start, stop)))
    except Exception as error:  # the file and its decoder decide which
        raise _unreadable(path, error) from error
    if len(frames) != stop - start:
        raise DataError(
            f"{path}: truncated: {start + len(frames)} frames, its header wants {stop};"
            " copy it again"
        )
    return frames


class _PixelRule:
    """Turns a decoded frame into grey values (H, W) uint8, by what the header says."""

    def __init__(self, header: Any, notes: list[str]) -> None:
        self.header = header
        self.photometric = str(header.get("PhotometricInterpretation", ""))
        self.shift = max(int(header.get("BitsStored") or 8) - 8, 0)
        self.palette = self.photometric == "PALETTE COLOR"
        if self.palette or int(header.get("SamplesPerPixel") or 1) > 1:
            notes.append(COLOUR_NOTE)
        elif self.shift:
            notes.append(f"{8 + self.shift}-bit pixels reduced to 8 bits")

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if self.palette:
            from pydicom.pixels import apply_color_lut

            frame = apply_color_lut(frame, self.header)
            frame = frame >> 8 if frame.dtype == np.uint16 else frame
        else:
            frame = np.clip(frame >> self.shift if self.shift else frame, 0, 255)
        frame = frame.astype(np.uint8)
        if frame.ndim == 3:
            return grey(frame)
        return 255 - frame if self.photometric == "MONOCHROME1" else frame


def _spacing(header: Any, size: tuple[int, int], notes: list[str]) -> tuple[float, float] | None:
    """(dy, dx) in mm of the largest 2-D region, else of the image."""
    regions = [
        region
        for region in header.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == _TISSUE_2D
        and region.get("PhysicalUnitsXDirection") == _CENTIMETRES
        and region.get("PhysicalUnitsYDirection") == _CENTIMETRES
        and region.get("PhysicalDeltaX")
        and region.get("PhysicalDeltaY")
    ]
    if regions:
        region = max(regions, key=_area)
        right, bottom = _corner(region, "Max")
        if right > size[1] or bottom > size[0]:
            # The image was made smaller after its regions were written: by how much nobody says.
            notes.append(
                f"its ultrasound region ends at pixel ({right}, {bottom}) of an image of"
                f" {size[1]} x {size[0]}: its spacing is that of another size and is not used"
            )
            return None
        return tuple(
            round(abs(float(region.get(key))) * 10, 9)  # cm
            for key in ("PhysicalDeltaY", "PhysicalDeltaX")
        )
    spacing = header.get("PixelSpacing")
    if spacing and all(float(step) > 0 for step in spacing):
        return float(spacing[0]), float(spacing[1])
    return None


def _corner(region: Any, which: str) -> tuple[int, int]:
    ends = {"Min": ("X0", "Y0"), "Max": ("X1", "Y1")}[which]
    x, y = (int(region.get(f"RegionLocation{which}{end}") or 0) for end in ends)
    return x, y


def _area(region: Any) -> int:
    (left, top), (right, bottom) = _corner(region, "Min"), _corner(region, "Max")
    return (right - left) * (bottom - top)


def _frame_time(header: Any) -> float | None:
    """Milliseconds a frame: stated, or the mean of those stated, or by the frame rate."""
    vector = header.get("FrameTimeVector")
    if vector is not None and not hasattr(vector, "__len__"):
        vector = [vector]
    candidates = [header.get("FrameTime")]
    if vector is not None and len(vector) > 1:
        candidates.append(np.mean([float(step) for step in vector[1:]]))
    for rate in (header.get("CineRate"), header.get("RecommendedDisplayFrameRate")):
        candidates.append(1000 / float(rate) if rate else None)
    for time in candidates:
        if time is not None and math.isfinite(float(time)) and float(time) > 0:
            return float(time)
    return None


def _kind(header: Any) -> str:
    uid = header.get("SOPClassUID")
    return getattr(uid, "name", None) or header.get("Modality") or "of no stated kind"


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:160]
    return DataError(f"{path}: not readable as DICOM ({reason}); {_WANTED_TAGS}")
