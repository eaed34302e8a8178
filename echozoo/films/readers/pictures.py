"""Films of a kind that knows no spacing: videos, still pictures, arrays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from echozoo.errors import DataError
from echozoo.films.readers.source import COLOUR_NOTE, DEPTH_NOTE, FrameSource, SpooledFrames, grey

_COLOUR_DIFFERENCE = 12  # grey levels; compression alone tints grey a little


def open_video(path: Path, max_bytes: int | None = None) -> FrameSource:
    """Open an AVI or MP4 file; it is decoded once, into a temporary file.

    Videos can only be read forwards, and their headers count frames wrongly.

    Args:
        path: The file.
        max_bytes: The most that it may take decoded, H * W bytes a frame; None sets no limit.

    Raises:
        DataError: No frame can be decoded, or the decoded frames exceed the limit.
    """
    with _silent_decoder():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise DataError(
                f"{path}: not readable as a video (damaged, truncated or of an unknown codec);"
                " wanted AVI or MP4"
            )
        rate = capture.get(cv2.CAP_PROP_FPS)
        notes: list[str] = []
        film = SpooledFrames(_limited(_video_frames(path, capture, notes), path, max_bytes))
    finally:
        capture.release()
    if not film.num_frames:
        raise DataError(f"{path}: no frames in this video; copy it again")
    frame_time = 1000 / rate if rate and np.isfinite(rate) and rate > 0 else None
    return FrameSource(film.num_frames, film.size, film.read, frame_time_ms=frame_time, notes=notes)


def _limited(
    frames: Iterator[np.ndarray], path: Path, max_bytes: int | None
) -> Iterator[np.ndarray]:
    total = 0
    for frame in frames:
        total += frame.size
        if max_bytes is not None and total > max_bytes:
            raise DataError(
                f"{path}: more than {max_bytes} bytes when decoded; cut or shrink the film"
            )
        yield frame


def _video_frames(path: Path, capture: cv2.VideoCapture, notes: list[str]) -> Iterator[np.ndarray]:
    size = None
    while True:
        with _silent_decoder():
            there, frame = capture.read()
        if not there:
            return
        if size is None:
            size = frame.shape
            spread = frame.max(axis=-1).astype(int) - frame.min(axis=-1)
            if spread.max() > _COLOUR_DIFFERENCE:
                notes.append(COLOUR_NOTE)
        elif frame.shape != size:
            raise DataError(f"{path}: frames of different sizes, wanted one size; convert it")
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


@contextlib.contextmanager
def _silent_decoder() -> Iterator[None]:
    """Keep the decoder's complaints, which no option silences, off the screen."""
    with open(os.devnull, "wb") as nothing:
        saved = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def open_picture(path: Path) -> FrameSource:
    """Open a PNG or JPEG file as a film of one frame.

    Raises:
        DataError: It is no whole picture.
    """
    try:
        with Image.open(path) as image:
            image.load()
            pixels, notes = _picture_pixels(path, image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise DataError(
            f"{path}: not readable as a picture ({_reason(error)}); copy it again"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {_reason(error)}") from error
    return FrameSource(1, pixels.shape, lambda a, b: pixels[None][a:b], notes=notes)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "of no known kind, or damaged"
    return " ".join(str(error).split())


def _picture_pixels(path: Path, image: Image.Image) -> tuple[np.ndarray, list[str]]:
    if image.mode in ("I", "I;16", "I;16B", "F"):
        values = np.asarray(image)
        if image.mode == "F" or values.max() > 65535 or values.min() < 0:
            raise DataError(f"{path}: pixels of mode {image.mode}, wanted 8 or 16 bits")
        return (values >> 8).astype(np.uint8), [DEPTH_NOTE]
    if image.mode in ("1", "L", "LA"):
        return np.array(image.convert("L")), []
    return grey(np.array(image.convert("RGB"))), [COLOUR_NOTE]


def open_array(array: np.ndarray) -> FrameSource:
    """Take an array as a film.

    Args:
        array: (H, W), (T, H, W), or with a last axis of 3 (RGB) or 4 (RGBA) in colour; values
            from 0 to 255, or fractions from 0 to 1.

    Raises:
        DataError: It has another shape, no frames, NaN or values out of range.
    """
    colour = array.ndim >= 3 and array.shape[-1] in (3, 4)
    frames = array[None] if array.ndim - colour == 2 else array
    if frames.ndim - colour != 3:
        raise DataError(f"array of shape {array.shape}, wanted (H, W), (T, H, W) or colour of it")
    if not frames.size:
        raise DataError(f"array of shape {array.shape}: no frames, wanted one or more")
    factor = _array_factor(frames)

    def read(start: int, stop: int) -> np.ndarray:
        part = frames[start:stop]
        if part.dtype != np.uint8:
            part = np.rint(part * factor).astype(np.uint8)
        return grey(part) if colour else part

    return FrameSource(len(frames), frames.shape[1:3], read, notes=[COLOUR_NOTE] if colour else [])


def _array_factor(frames: np.ndarray) -> float:
    if frames.dtype == np.uint8:
        return 1.0
    if frames.dtype.kind not in "biuf":
        raise DataError(f"array of type {frames.dtype}, wanted numbers")
    if frames.dtype.kind == "f" and not np.isfinite(frames).all():
        count = int((~np.isfinite(frames)).sum())
        raise DataError(f"array: {count} pixels are NaN or infinite, wanted finite values")
    low, high = frames.min(), frames.max()
    if low < 0 or high > 255:
        raise DataError(f"array: pixels from {low:g} to {high:g}, wanted 0 to 255; rescale them")
    fractions = frames.dtype.kind == "f" and high <= 1 and (frames != np.rint(frames)).any()
    return 255.0 if fractions or frames.dtype == bool else 1.0
