"""What every reader of films gives, and what readers share."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

import cv2
import numpy as np

from echozoo.errors import DataError, StorageError
from echozoo.films.geometry import Geometry

COLOUR_NOTE = "colour converted to grey"
_STRONG = 80 / 255  # between the strongest and the weakest channel


@dataclass
class FrameSource:
    """Frames that are read when they are wanted, with the values that the file has.

    Attributes:
        num_frames: Length T of the film.
        size: (H, W).
        read: Called as ``read(start, stop)``, returns numbers (n, H, W), or (n, H, W, 3) in RGB.
        dtype: Of what it returns.
        depth: Bits that the file says its values have; None where it does not say, as formats
            for measured values do (NIfTI, MetaImage).
        converted: What was made of the stored values on the way, as "palette": labels would not
            survive it. "" for nothing.
        inverse: Whether 0 is white.
        spacing: (dy, dx) in mm, None where the file does not say.
        frame_time_ms: Time from one frame to the next, None where the file does not say.
        frame_times_ms: When each frame begins (T,), where they are uneven.
        geometry: Where the pixels lie, for files that say so.
        notes: What a user should know, one line each.
        coloured: Share of pixels with a strong colour, in the most coloured frame that was looked
            at: a reader says it that gives grey frames itself.
    """

    num_frames: int
    size: tuple[int, int]
    read: Callable[[int, int], np.ndarray]
    dtype: np.dtype = np.dtype(np.uint8)
    depth: int | None = None
    converted: str = ""
    inverse: bool = False
    spacing: tuple[float, float] | None = None
    frame_time_ms: float | None = None
    frame_times_ms: np.ndarray | None = None
    geometry: Geometry | None = None
    notes: list[str] = field(default_factory=list)
    coloured: float = 0.0


def share_of_colour(frame: np.ndarray) -> float:
    """Share of the pixels of an RGB frame (H, W, 3) whose colour is strong: no tint of grey is."""
    strong = _STRONG * max(255, int(frame.max()))
    return float((np.ptp(frame.astype(np.int32), axis=-1) > strong).mean())


def grey(frames: np.ndarray) -> np.ndarray:
    """Turn RGB or RGBA frames (..., H, W, C) uint8 into their luminance (..., H, W) uint8."""
    flat = np.ascontiguousarray(frames[..., :3]).reshape(-1, frames.shape[-2], 3)  # (rows, W, 3)
    return cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY).reshape(frames.shape[:-1])  # (..., H, W)


class SpooledFrames:
    """Frames in a nameless temporary file: any of them is read back at once, none is kept.

    The file needs H * W bytes a frame in the folder for temporary files (environment TMPDIR), and
    goes away by itself.

    Args:
        frames: Frames (H, W) uint8 of one size, each read once.

    Raises:
        StorageError: The folder is full.
    """

    def __init__(self, frames: Iterable[np.ndarray]) -> None:
        self._file = temporary_file()
        self.num_frames, self.size = 0, (0, 0)
        for frame in frames:
            self.size = frame.shape
            write_spooled(self._file, np.ascontiguousarray(frame, np.uint8))
            self.num_frames += 1
        self._file.flush()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return frames (n, H, W) uint8."""
        height, width = self.size
        self._file.seek(start * height * width)
        pixels = np.fromfile(self._file, np.uint8, (stop - start) * height * width)
        return pixels.reshape(stop - start, height, width)  # (n, H, W)


class BoundedReader(io.BufferedReader):
    """A file from its start, which sets no more memory aside for a read than there are bytes.

    Python's own sets aside as much as it is asked for, and what decoders ask for stands in the
    file.

    Args:
        file: It is taken over: what was opened here has its place in the file and closes it.

    Attributes:
        size: Its bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file.detach())
        self.size = self.seek(0, os.SEEK_END)
        self.seek(0)

    def read(self, count: int | None = -1) -> bytes:
        """Read so many bytes, or as many as are left."""
        left = max(self.size - self.tell(), 0)
        return super().read(left if count is None or count < 0 else min(count, left))


def temporary_file() -> BinaryIO:
    """Open a nameless temporary file."""
    try:
        return tempfile.TemporaryFile(prefix="echozoo-")  # noqa: SIM115, closed with its reader
    except OSError as error:
        raise no_space(error) from error


def write_spooled(file: BinaryIO, data: bytes | np.ndarray) -> None:
    """Write to a temporary file.

    Raises:
        StorageError: There is no space left.
    """
    try:
        file.write(data)
        file.flush()
    except OSError as error:
        raise no_space(error) from error


def no_space(error: OSError) -> StorageError:
    """Say that a film could not be unpacked."""
    return StorageError(
        f"{tempfile.gettempdir()}: no place to unpack a film ({error.strerror}); set TMPDIR to a"
        " folder with space"
    )


def truncated(name: object, found: int, wanted: int) -> DataError:
    """Say that a file ends before its header says."""
    return DataError(
        f"{name}: truncated: {found} bytes of data, its header wants {wanted}; copy it again"
    )
