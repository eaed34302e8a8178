"""What every reader of films gives, and what readers share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

import cv2
import numpy as np

from echozoo.errors import DataError
from echozoo.films.io import Geometry

COLOUR_NOTE = "colour converted to grey"
DEPTH_NOTE = "16-bit pixels reduced to 8 bits"


@dataclass
class FrameSource:
    """Frames that are read when they are wanted.

    Attributes:
        num_frames: Length T of the film.
        size: (H, W).
        read: Called as ``read(start, stop)``, returns (n, H, W) uint8.
        spacing: (dy, dx) in mm, None where the file does not say.
        frame_time_ms: Time from one frame to the next, None where the file does not say.
        geometry: Where the pixels lie, for files that say so.
        notes: What was done to the pixels, one line each.
    """

    num_frames: int
    size: tuple[int, int]
    read: Callable[[int, int], np.ndarray]
    spacing: tuple[float, float] | None = None
    frame_time_ms: float | None = None
    geometry: Geometry | None = None
    notes: list[str] = field(default_factory=list)


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
        DataError: The folder is full.
    """

    def __init__(self, frames: Iterable[np.ndarray]) -> None:
        self._file = temporary_file()
        self.num_frames, self.size = 0, (0, 0)
        try:
            for frame in frames:
                self.size = frame.shape
                np.ascontiguousarray(frame, np.uint8).tofile(self._file)
                self.num_frames += 1
            self._file.flush()
        except OSError as error:
            raise no_space(error) from error

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return frames (n, H, W) uint8."""
        height, width = self.size
        self._file.seek(start * height * width)
        pixels = np.fromfile(self._file, np.uint8, (stop - start) * height * width)
        return pixels.reshape(stop - start, height, width)  # (n, H, W)


def temporary_file() -> BinaryIO:
    """Open a nameless temporary file."""
    try:
        return tempfile.TemporaryFile(prefix="echozoo-")  # noqa: SIM115, closed with its reader
    except OSError as error:
        raise no_space(error) from error


def no_space(error: OSError) -> DataError:
    """Say that a film could not be unpacked."""
    return DataError(
        f"{tempfile.gettempdir()}: no place to unpack a film ({error.strerror}); set TMPDIR to a"
        " folder with space"
    )
