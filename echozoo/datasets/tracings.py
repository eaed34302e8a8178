"""Outlines that were traced as chords of a chamber, and the masks that they enclose."""

from __future__ import annotations

import numpy as np


def traced_mask(chords: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask of a tracing of EchoNet-Dynamic.

    Args:
        chords: (N, 4), rows (X1, Y1, X2, Y2) in pixels: the long axis, which is no part of the
            outline, then chords from one of its ends to the other.
        size: (H, W) of the image; what lies beyond is cut off.

    Returns:
        (H, W) bool.
    """
    across = np.asarray(chords, float)[1:]
    outline = np.concatenate([across[:, :2], across[::-1, 2:]])  # down one side, up the other
    return polygon_mask(np.rint(outline).astype(np.int64), size)


def polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centre is inside a polygon by the even-odd rule, or exactly on its edge.

    Args:
        points: (N, 2) whole numbers (x, y), closed without repeating the first.
        size: (H, W).

    Returns:
        (H, W) bool, exact: computed in whole numbers.
    """
    y, x = np.ogrid[: size[0], : size[1]]
    inside = np.zeros(size, bool)
    edge = np.zeros(size, bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        side = (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1)  # (H, W), 0 on the line
        crossed = (y1 <= y) != (y2 <= y)
        inside ^= crossed & ((side > 0) == (y2 > y1)) & (side != 0)
        within_x = (min(x1, x2) <= x) & (x <= max(x1, x2))
        within_y = (min(y1, y2) <= y) & (y <= max(y1, y2))
        edge |= (side == 0) & within_x & within_y
    return inside | edge
