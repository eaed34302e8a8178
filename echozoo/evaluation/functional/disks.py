"""The method of disks: landmarks of a ventricle, and its diameters along the long axis.

The rule is that of the published CAMUS script (vitalab/vital, ``script_camus_ef``): the base is the
longest nearly straight piece of the outline, its middle is where the long axis starts, and the
apex is the point of the outline farthest from there. Where the script depends on how the picture
is turned, on the direction of its contour and on the size of pixels, this one does not:

- it works in millimetres on the outline, whatever the pixels' shape;
- chords of the base lie within 45 degrees of the perpendicular to the mask's main axis, not of
  the picture's rows, and the longest one counts after its length is multiplied by the squared
  cosine of that tilt: on a shape that is round at both ends it keeps the axis upright;
- "nearly straight" is 2.46 mm, the script's 8 pixels of 0.308 mm (on the older .mhd files the
  script's rule would be half of that; both give the same volumes within 0.5 ml);
- diameters are taken at the middle of each disk, as echocardiography's guidelines define them, and
  have no least value; the script takes them at the disks' basal ends, 16 pixels at least.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from contourpy import contour_generator
from scipy import ndimage

from echozoo.errors import DataError

NUM_DISKS = 20
SMALLEST_MM2 = 100.0
"""What is smaller is no chamber: the smallest LV of CAMUS's four-chamber masks has 820 mm2."""
_STRAIGHT_MM = 8 * 0.308
_MOST_TILT = np.deg2rad(45)
# Half a millimetre to one between the points of a ventricle's outline.
_OUTLINE_POINTS = 256


class Disks(NamedTuple):
    """A chamber cut into disks across its long axis; all NaN where there is no chamber.

    Points are (x, y) in pixels of the mask, pixel centres at whole numbers.
    """

    diameters_mm: np.ndarray
    """(20,), from the base to the apex, at the middle of each disk."""
    length_mm: float
    """From the middle of the base to the apex."""
    base: np.ndarray
    """(2, 2), the two ends of the base."""
    base_centre: np.ndarray
    """(2,), the middle of the base, on the outline."""
    apex: np.ndarray
    """(2,), the point of the outline farthest from the middle of the base."""
    base_width_mm: float
    """Distance between the two ends of the base."""
    wall_mm: float
    """Length of the outline from one end of the base over the apex to the other."""


def disks(mask: np.ndarray, spacing: tuple[float, float]) -> Disks:
    """Find a ventricle's base and apex, and its diameters in 20 disks between them.

    The result does not depend on how the heart lies in the picture. Only the largest connected
    part of the mask counts, and its holes are part of it.

    Args:
        mask: (H, W), foreground is what is not zero.
        spacing: (dy, dx) of a pixel, mm.

    Returns:
        Diameters, length and landmarks; all NaN where the mask's largest part is smaller than 1
        cm2 (`SMALLEST_MM2`).

    Raises:
        DataError: The mask is not two-dimensional, or the spacing is not positive.
    """
    points = outline(mask, spacing)
    if points is None:
        return _nothing()
    start, end = _base(points)
    centre = _middle_of_arc(points, start, end)
    apex = points[np.argmax(np.hypot(*(points - centre).T))]
    length = float(np.hypot(*(apex - centre)))
    along = (apex - centre) / length
    places = length * (np.arange(NUM_DISKS) + 0.5) / NUM_DISKS
    diameters = inside_lengths(points - centre, along, places)
    base = points[[start, end]]
    pixel = np.array(spacing[::-1], dtype=float)
    return Disks(
        diameters_mm=diameters,
        length_mm=length,
        base=base / pixel,
        base_centre=centre / pixel,
        apex=apex / pixel,
        base_width_mm=float(np.hypot(*(base[1] - base[0]))),
        wall_mm=_length(points) * (1 - (end - start) % len(points) / len(points)),
    )


def chamber_area(mask: np.ndarray) -> int:
    """Pixels of what `disks` measures: the mask's largest connected part with its holes.

    Args:
        mask: (H, W), foreground is what is not zero.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return 0
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] != 0
    return int(np.count_nonzero(ndimage.binary_fill_holes(_largest_part(part))))


def outline(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray | None:
    """The outline of a mask's largest connected part, without its holes.

    It runs half-way between foreground and background pixels.

    Args:
        mask: (H, W), foreground is what is not zero.
        spacing: (dy, dx) of a pixel, mm.

    Returns:
        (256, 2) points (x, y) in mm from the centre of the first pixel, at equal distances along
        the outline, closed without repeating the first; None where the part is smaller than 1 cm2.

    Raises:
        DataError: The mask is not two-dimensional, or the spacing is not positive.
    """
    mask = np.asarray(mask)
    dy, dx = _check(mask, spacing)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size * columns.size * dy * dx < SMALLEST_MM2:
        return None
    top, left = rows[0], columns[0]
    part = _largest_part(mask[top : rows[-1] + 1, left : columns[-1] + 1] != 0)
    if part.sum() * dy * dx < SMALLEST_MM2:
        return None
    padded = np.pad(part.astype(np.float32), 1)
    lines = contour_generator(z=padded).lines(0.5)
    outermost = max(lines, key=lambda line: np.ptp(line[:, 0]))  # the others are holes
    return _evenly_spaced((outermost - 1 + (left, top)) * (dx, dy))


def _check(mask: np.ndarray, spacing: tuple[float, float]) -> tuple[float, float]:
    if mask.ndim != 2:
        raise DataError(f"mask of shape {mask.shape}: wanted one mask (H, W)")
    dy, dx = (float(step) for step in spacing)
    if not (0 < dy < np.inf and 0 < dx < np.inf):
        raise DataError(f"spacing {(dy, dx)}: wanted two positive numbers, mm a pixel (dy, dx)")
    return dy, dx


def _nothing() -> Disks:
    nan, point = float("nan"), np.full(2, np.nan)
    return Disks(np.full(NUM_DISKS, np.nan), nan, np.full((2, 2), np.nan), point, point, nan, nan)


def _largest_part(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1 if count > 1 else mask


def _evenly_spaced(line: np.ndarray) -> np.ndarray:
    steps = np.hypot(*np.diff(line, axis=0).T)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    places = np.linspace(0, travelled[-1], _OUTLINE_POINTS, endpoint=False)
    return np.stack([np.interp(places, travelled, axis) for axis in line.T], axis=1)


def _length(points: np.ndarray) -> float:
    """Length of a closed outline."""
    return float(np.hypot(*(np.roll(points, -1, axis=0) - points).T).sum())


def _base(points: np.ndarray) -> tuple[int, int]:
    """The two ends of the base, as indices of the outline; the base is the arc between them.

    A chord is nearly straight where every point of its arc is within `_STRAIGHT_MM` of its line.
    Seen from the arc's first point, point k at distance r lets pass the directions within
    asin(straight / r) of its own: the chord to a point is straight where its direction is passed
    by all points before it. That makes all pairs of points one cumulative maximum and minimum.
    """
    count = len(points)
    index = (np.arange(count)[:, None] + np.arange(1, count // 2)) % count  # (n, n / 2 - 1)
    chords = points[index] - points[:, None]
    lengths = np.maximum(np.hypot(chords[..., 0], chords[..., 1]), 1e-9)
    directions = np.unwrap(np.arctan2(chords[..., 1], chords[..., 0]), axis=1)
    reach = _STRAIGHT_MM / lengths
    leeway = np.where(reach < 1, np.arcsin(np.minimum(reach, 1)), np.inf)
    straight = directions >= np.maximum.accumulate(directions - leeway, axis=1)
    straight &= directions <= np.minimum.accumulate(directions + leeway, axis=1)
    cosines = np.abs(chords @ _across_main_axis(points)) / lengths
    straight &= cosines >= np.cos(_MOST_TILT)
    worth = np.where(straight, lengths * cosines**2, 0)
    start, step = np.unravel_index(np.argmax(worth), worth.shape)
    return int(start), int(index[start, step])


def _across_main_axis(points: np.ndarray) -> np.ndarray:
    """Unit vector across the longer axis of inertia of a polygon."""
    x, y = (points - points.mean(axis=0)).T
    x1, y1 = np.roll(x, -1), np.roll(y, -1)
    cross = x * y1 - x1 * y
    area = cross.sum() / 2
    cx, cy = ((x + x1) * cross).sum() / (6 * area), ((y + y1) * cross).sum() / (6 * area)
    xx = ((x * x + x * x1 + x1 * x1) * cross).sum() / 12 / area - cx * cx
    yy = ((y * y + y * y1 + y1 * y1) * cross).sum() / 12 / area - cy * cy
    xy = ((x * y1 + 2 * x * y + 2 * x1 * y1 + x1 * y) * cross).sum() / 24 / area - cx * cy
    return np.linalg.eigh([[xx, xy], [xy, yy]]).eigenvectors[:, 0]


def _middle_of_arc(points: np.ndarray, start: int, end: int) -> np.ndarray:
    steps = (end - start) % len(points)
    middle = (start + steps // 2) % len(points)
    return (points[middle] + points[(middle + steps % 2) % len(points)]) / 2


def inside_lengths(points: np.ndarray, along: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How much of each of several parallel lines lies inside an outline.

    Args:
        points: (n, 2) outline, the axis starts at (0, 0).
        along: (2,) unit vector of the axis, which the lines cross at right angles.
        places: (m,) where they cross it.

    Returns:
        (m,) lengths, in the unit of the points.
    """
    axial, lateral = points @ along, points @ np.array([-along[1], along[0]])
    next_axial, next_lateral = np.roll(axial, -1), np.roll(lateral, -1)
    level = places[:, None]  # (m, 1) against the n sides of the polygon
    rising = ((axial <= level) & (next_axial > level)).astype(float)
    falling = ((next_axial <= level) & (axial > level)).astype(float)
    run = np.where(next_axial == axial, 1.0, next_axial - axial)
    crossings = lateral + (level - axial) / run * (next_lateral - lateral)
    return np.abs((crossings * (rising - falling)).sum(axis=1))
