"""What becomes of the values of a file: grey levels of 8 bits, or labels.

One rule a film, never one a frame, and never a stretch to its own darkest and brightest value:
frames of a film, and films of a patient, stay comparable.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from echozoo.errors import DataError
from echozoo.films.readers.source import COLOUR_NOTE, FrameSource, grey

Reader = Callable[[int, int], np.ndarray]

_BLOCK = 1 << 22  # values looked at at a time
_DEPTHS = (10, 12, 14, 16)


def as_grey(name: object, source: FrameSource) -> Reader:
    """Give frames as grey levels (n, H, W) uint8.

    - Values from 0 to 255 are rounded.
    - Fractions from 0 to 1 are multiplied by 255.
    - Brighter ones of a file that says its depth (DICOM, pictures) lose their lowest bits: those
      of the depth that it says, and of the least that holds its brightest value where it says
      only that there are 16.
    - All else is refused: who wrote a NIfTI file knows what its values mean, we do not.

    Args:
        name: The file, for messages.
        source: Its frames; notes are added to it.

    Raises:
        DataError: Values are NaN or out of range.
    """
    if source.dtype.kind not in "biuf":
        raise DataError(f"{name}: values of type {source.dtype}, wanted whole or real numbers")
    factor = _factor(name, source) if source.dtype != np.uint8 or (source.depth or 8) < 8 else 1

    def read(start: int, stop: int) -> np.ndarray:
        frames = source.read(start, stop)
        if factor < 1:
            frames = np.floor(frames * factor).astype(np.uint8)
        elif frames.dtype != np.uint8 or factor != 1:
            frames = np.rint(frames * factor if factor != 1 else frames).astype(np.uint8)
        frames = grey(frames) if frames.ndim == 4 else frames
        return 255 - frames if source.inverse else frames

    return read


def as_labels(name: object, source: FrameSource) -> Reader:
    """Give frames as labels (n, H, W) uint8: the values as they are stored, of any type.

    Raises:
        DataError: They are in colour, were changed by being read, or are no whole numbers from 0
            to 255.
    """
    if source.converted or COLOUR_NOTE in source.notes:
        raise DataError(
            f"{name}: labels in colour or changed by being read"
            f" ({source.converted or COLOUR_NOTE}), wanted grey levels of 8 or 16 bits that are"
            " the labels themselves; convert the mask"
        )
    if source.dtype != np.uint8:
        _scan(name, source, _check_labels)
    return lambda start, stop: np.rint(source.read(start, stop)).astype(np.uint8, copy=False)


def _check_labels(name: object, values: np.ndarray) -> None:
    whole = np.rint(values)
    if np.abs(values - whole).max() > 1e-3 or whole.min() < 0 or whole.max() > 255:
        found = ", ".join(f"{value:g}" for value in np.unique(values)[:6])
        raise DataError(f"{name}: label values {found}, …, wanted whole numbers from 0 to 3")


def _factor(name: object, source: FrameSource) -> float:
    """Look at every frame once: what values are multiplied by."""
    low, high, fractions = np.inf, -np.inf, False

    def look(_: object, values: np.ndarray) -> None:
        nonlocal low, high, fractions
        low, high = min(low, values.min()), max(high, values.max())
        if values.dtype.kind == "f":
            fractions = fractions or bool((values != np.rint(values)).any())

    _scan(name, source, look)
    if low < 0 or (high > 255 and source.depth is None):
        raise DataError(
            f"{name}: pixels from {low:g} to {high:g}, wanted 8-bit values, 0 to 255; rescale all"
            " images alike"
        )
    if source.dtype == bool or (source.depth is None and fractions and high <= 1):
        return 255.0
    if source.depth is not None and source.depth < 8:
        return 255 / (2**source.depth - 1)
    if high <= 255:
        return 1.0
    depth = _depth(int(high), source.depth)
    source.notes.append(f"{depth}-bit pixels reduced to 8 bits")
    source.converted = source.notes[-1]
    return 2.0 ** (8 - depth)


def _depth(brightest: int, stated: int) -> int:
    # 16 is what a file has that was stored as 16-bit numbers, whatever the scanner's depth was.
    if stated < 16 and brightest < 2**stated:
        return stated
    return next((bits for bits in _DEPTHS if brightest < 2**bits), brightest.bit_length())


def _scan(name: object, source: FrameSource, look: Callable[[object, np.ndarray], None]) -> None:
    """Show all values, some frames at a time, once those that are no numbers are ruled out."""
    step = max(1, _BLOCK // (source.size[0] * source.size[1]))
    bad = 0
    for start in range(0, source.num_frames, step):
        values = source.read(start, min(start + step, source.num_frames))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad += int((~np.isfinite(values)).sum())
        elif not bad:
            look(name, values)
    if bad:
        raise DataError(f"{name}: {bad} pixels are NaN or infinite, wanted finite values")
