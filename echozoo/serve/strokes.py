"""Strokes of a brush: which pixels they cover."""

from __future__ import annotations

import numpy as np

MOST_POINTS = 512
MOST_RADIUS = 128.0


def covered(points: np.ndarray, radius: float, size: tuple[int, int]) -> np.ndarray:
    """Pixels of a stroke.

    A pixel is covered where its centre is no farther than ``radius`` from the line through the
    points, its ends included; centres are whole numbers. ``brush.js`` draws by the same rule, in
    the same order of operations.

    Args:
        points: (P, 2), (x, y) in pixels; they may lie outside of the image.
        radius: In pixels, above 0.
        size: (H, W).

    Returns:
        (H, W) bool.
    """
    found = np.zeros(size, bool)
    points = np.asarray(points, float).reshape(-1, 2)
    for start, end in zip(points, [*points[1:], points[-1]], strict=True):
        low = np.ceil(np.minimum(start, end) - radius).clip(0)
        high = np.floor(np.maximum(start, end) + radius).clip(-1, np.array(size[::-1]) - 1)
        (left, top), (right, bottom) = low.astype(int), high.astype(int)
        x = np.arange(left, right + 1)[None] - start[0]  # (1, w)
        y = np.arange(top, bottom + 1)[:, None] - start[1]  # (h, 1)
        dx, dy = end - start
        length = dx * dx + dy * dy
        along = np.clip((x * dx + y * dy) / length, 0, 1) if length else 0.0
        off_x, off_y = x - along * dx, y - along * dy
        near = off_x * off_x + off_y * off_y <= radius * radius
        found[top : bottom + 1, left : right + 1] |= near
    return found
