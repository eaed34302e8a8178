"""Arrays in memory as films."""

from __future__ import annotations

import numpy as np

from echozoo.errors import DataError
from echozoo.films.readers.source import COLOUR_NOTE, FrameSource


def open_array(array: np.ndarray) -> FrameSource:
    """Take an array as a film.

    Args:
        array: (H, W), (T, H, W), or with a last axis of 3 (RGB) or 4 (RGBA) in colour; values
            from 0 to 255, or fractions from 0 to 1.

    Raises:
        DataError: It has another shape, or no frames.
    """
    colour = array.ndim >= 3 and array.shape[-1] in (3, 4)
    frames = array[None] if array.ndim - colour == 2 else array
    if colour:
        frames = frames[..., :3]  # what is transparent has a grey level too
    if frames.ndim - colour != 3:
        raise DataError(f"array of shape {array.shape}, wanted (H, W), (T, H, W) or colour of it")
    if not frames.size:
        raise DataError(f"array of shape {array.shape}: no frames, wanted one or more")
    return FrameSource(
        *(len(frames), frames.shape[1:3], lambda a, b: frames[a:b], frames.dtype),
        notes=[COLOUR_NOTE] if colour else [],
    )
