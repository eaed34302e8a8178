"""Films stored as volumes: NIfTI and .mhd, never more than a range of frames in memory."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from echozoo.errors import DataError
from echozoo.films import io
from echozoo.films.integrity import check_complete, check_present
from echozoo.films.readers.source import (
    COLOUR_NOTE,
    FrameSource,
    grey,
    no_space,
    temporary_file,
)

_HEADER_BYTES = 352
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_RGB = 128
_BLOCK = 1 << 22  # bytes unpacked, and frames scanned, at a time


@dataclass
class _Stored:
    """Frames of one type one after the other in an open file."""

    file: BinaryIO
    offset: int
    shape: tuple[int, ...]  # (T, H, W), or (T, H, W, 3)
    dtype: np.dtype
    slope: float
    intercept: float

    def read(self, start: int, stop: int) -> np.ndarray:
        count = int(np.prod(self.shape[1:]))
        self.file.seek(self.offset + start * count * self.dtype.itemsize)
        values = np.fromfile(self.file, self.dtype, (stop - start) * count)
        values = values.reshape(stop - start, *self.shape[1:])  # (n, H, W[, 3])
        if (self.slope, self.intercept) == (1.0, 0.0):
            return values
        return values * self.slope + self.intercept


def open_nifti(path: Path) -> FrameSource:
    """Open a .nii or .nii.gz file; the latter is unpacked once, into a temporary file.

    Raises:
        DataError: It is empty, truncated, damaged, not 2-D or 3-D, or its pixels do not fit.
    """
    check_present(path)
    packed = path.name.endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        stored, wanted = _parse_header(path, _read_exactly(path, stream, _HEADER_BYTES))
        if packed:
            _read_exactly(path, stream, stored.offset - _HEADER_BYTES)
            stored.file, stored.offset = _unpack(path, stream, wanted), 0
    if not packed:
        found = path.stat().st_size
        if found < stored.offset + wanted:
            raise _truncated(path, found, stored.offset + wanted)
        stored.file = path.open("rb")
    geometry = io.read_geometry(path)[1]
    return _as_pixels(path, stored.shape, stored.read, stored.dtype, geometry)


def open_mhd(path: Path) -> FrameSource:
    """Open a .mhd file.

    Raises:
        DataError: As `open_nifti`.
    """
    check_complete(path)
    (frames, _, _), geometry = io.read_geometry(path)
    first = io.read_frames(path, 0, 1)
    shape = (frames, *first.shape[1:])
    return _as_pixels(path, shape, lambda a, b: io.read_frames(path, a, b), first.dtype, geometry)


def _read_exactly(path: Path, stream: BinaryIO, count: int) -> bytes:
    data = _read_block(path, stream, count)
    if len(data) < count:
        raise _truncated(path, len(data), count)
    return data


def _parse_header(path: Path, data: bytes) -> tuple[_Stored, int]:
    """The place of the pixels, and their number of bytes."""
    order = "<" if struct.unpack_from("<i", data)[0] == 348 else ">"
    dims = struct.unpack_from(f"{order}8h", data, 40)
    kind = struct.unpack_from(f"{order}h", data, 70)[0]
    offset, slope, intercept = struct.unpack_from(f"{order}3f", data, 108)
    steps = struct.unpack_from(f"{order}2f", data, 80)
    sizes = [max(size, 1) for size in dims[1 : max(dims[0], 0) + 1]]
    if int(np.prod(sizes[3:])) != 1:
        raise DataError(f"{path}: {dims[0]}-D image, wanted (W, H) or (W, H, T)")
    if kind != _RGB and kind not in _TYPES:
        raise DataError(f"{path}: pixels of NIfTI type {kind}, wanted whole or real numbers")
    if 0 in steps:
        raise DataError(f"{path}: spacing of 0 mm in its header, wanted a positive one")
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        slope, intercept = 1.0, 0.0
    dtype = np.dtype(order + _TYPES.get(kind, "u1"))
    width, height, frames = (*sizes[:2], (sizes + [1])[2])
    shape = (frames, height, width) + ((3,) if kind == _RGB else ())
    stored = _Stored(None, int(offset), shape, dtype, slope, intercept)
    return stored, int(np.prod(shape)) * dtype.itemsize


def _unpack(path: Path, stream: BinaryIO, wanted: int) -> BinaryIO:
    file, left = temporary_file(), wanted
    while left:
        block = _read_block(path, stream, min(_BLOCK, left))
        if not block:
            raise _truncated(path, wanted - left, wanted)
        left -= len(block)
        try:
            file.write(block)
        except OSError as error:
            raise no_space(error) from error
    _read_block(path, stream, 1)  # the end of the file, where its checksum is compared
    file.flush()
    return file


def _read_block(path: Path, stream: BinaryIO, count: int) -> bytes:
    try:
        return stream.read(count)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path}: truncated or damaged, not a whole gzip file ({error}); copy it again"
        ) from error


def _truncated(path: Path, found: int, wanted: int) -> DataError:
    return DataError(
        f"{path}: truncated: {found} bytes of data, its header wants {wanted}; copy it again"
    )


def _as_pixels(
    path: Path,
    shape: tuple[int, ...],
    read: Callable[[int, int], np.ndarray],
    dtype: np.dtype,
    geometry: io.Geometry,
) -> FrameSource:
    """Give frames as 8-bit pixels, by the one rule for the film that `io.read_volume` has."""
    notes = [COLOUR_NOTE] if len(shape) == 4 else []
    factor = 1.0 if dtype == np.uint8 else _common_factor(path, shape, read)

    def pixels(start: int, stop: int) -> np.ndarray:
        frames = read(start, stop)
        if frames.dtype != np.uint8:
            frames = np.rint(frames * factor if factor != 1 else frames).astype(np.uint8)
        return grey(frames) if frames.ndim == 4 else frames

    # NIfTI keeps 32-bit numbers: to a nanometre, 0.308 is 0.308.
    dx, dy = (round(step, 6) for step in geometry.spacing[:2])
    return FrameSource(shape[0], shape[1:3], pixels, (dy, dx), None, geometry, notes)


def _common_factor(
    path: Path, shape: tuple[int, ...], read: Callable[[int, int], np.ndarray]
) -> float:
    """Look at every frame once: what grey values are multiplied by, 1 or (fractions) 255."""
    step = max(1, _BLOCK // (8 * int(np.prod(shape[1:]))))
    low, high, fractions, bad = np.inf, -np.inf, False, 0
    for start in range(0, shape[0], step):
        frames = read(start, min(start + step, shape[0]))
        if frames.dtype.kind == "f":
            bad += int((~np.isfinite(frames)).sum())
            fractions = fractions or bool((frames != np.rint(frames)).any())
        low, high = min(low, frames.min()), max(high, frames.max())
    if bad:
        raise DataError(f"{path}: {bad} pixels are NaN or infinite, wanted finite values")
    if low < 0 or high > 255:
        raise DataError(
            f"{path}: pixels from {low:g} to {high:g}, wanted 8-bit values, 0 to 255;"
            " rescale all images alike"
        )
    return 255.0 if fractions and high <= 1 else 1.0
