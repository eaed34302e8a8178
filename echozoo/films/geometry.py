"""Where pixels lie in space, and what of a header can be believed of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SPACING_MM = (0.01, 10.0)
"""Pixels of an ultrasound image are neither smaller nor larger."""
FRAME_TIME_MS = (0.1, 10_000.0)
"""Films are neither faster nor slower."""


class Geometry(NamedTuple):
    """Where the pixels of a file lie in space, in ITK's order (x, y[, z]) and system (LPS).

    Attributes:
        spacing: mm a pixel, of 2 or 3 axes; the third is time where a film is stored as a volume.
        origin: Position of the centre of the first pixel in mm.
        direction: Unit vectors of the axes, row-major.
    """

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def upright(cls, spacing: tuple[float, float], dimensions: int = 3) -> Geometry:
        """The geometry of frames with spacing (dy, dx) that are nowhere in particular."""
        dy, dx = (float(step) for step in spacing)
        identity = tuple(np.eye(dimensions).ravel().tolist())
        return cls((dx, dy, 1.0)[:dimensions], (0.0,) * dimensions, identity)

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The way (3, 2) in mm of a step along x and along y, and the first pixel's place (3,)."""
        n = len(self.spacing)
        steps, origin = np.zeros((3, 2)), np.zeros(3)
        steps[:n] = (np.reshape(self.direction, (n, n)) * self.spacing)[:, :2]
        origin[:n] = self.origin
        return steps, origin


def believed_spacing(steps: Iterable[float | None], notes: list[str]) -> tuple[float, float] | None:
    """Take (dy, dx) mm of a header where it can be that of an ultrasound image.

    A sign says how an axis is directed, not how long its steps are: it is dropped.

    Args:
        steps: (dy, dx) in mm; None where the header says nothing.
        notes: Gets a line where a value is there and cannot be believed.

    Returns:
        (dy, dx), or None where it is unknown.
    """
    dy, dx = steps
    if dy is None or dx is None:
        return None
    if not all(SPACING_MM[0] <= abs(step) <= SPACING_MM[1] for step in (dy, dx)):  # NaN is not
        notes.append(
            f"spacing of {dy:g} x {dx:g} mm in its header, wanted {SPACING_MM[0]:g} to"
            f" {SPACING_MM[1]:g}: not used"
        )
        return None
    return abs(float(dy)), abs(float(dx))


def believed_frame_time(time: float | None, notes: list[str]) -> float | None:
    """Take the ms from one frame to the next where it can be that of a film; as for spacing."""
    if time is None or time == 0:
        return None
    if not FRAME_TIME_MS[0] <= time <= FRAME_TIME_MS[1]:
        notes.append(
            f"frame time of {time:g} ms in its header, wanted {FRAME_TIME_MS[0]:g} to"
            f" {FRAME_TIME_MS[1]:g}: not used"
        )
        return None
    return float(time)


def frame_times(
    starts: Iterable[float], notes: list[str]
) -> tuple[float | None, np.ndarray | None]:
    """Say how far apart frames are that each have a time of their own.

    Args:
        starts: When each of T frames begins, in ms.
        notes: Gets a line where the times are not evenly spaced, or cannot be believed.

    Returns:
        The mean ms from one frame to the next, None where unknown; and the times (T,) from 0
        where they are uneven, by more than a twentieth and than the millisecond to which some
        containers round; else None.
    """
    starts = np.asarray(list(starts), float)
    steps = np.diff(starts)
    if not len(steps):
        return None, None
    if not np.isfinite(steps).all() or steps.min() <= 0:
        notes.append("the times of its frames do not rise: not used")
        return None, None
    mean = believed_frame_time(float(steps.mean()), notes)
    if mean is None or np.ptp(steps) <= max(2.1, 0.05 * mean):
        return mean, None
    notes.append(
        f"uneven frame times, {steps.min():.4g} to {steps.max():.4g} ms from one to the next: those"
        f" of each frame are used, {mean:.4g} ms in the mean"
    )
    return mean, starts - starts[0]


def finite(*values: float) -> bool:
    """Whether all are numbers that one can measure with."""
    return all(math.isfinite(value) for value in values)
