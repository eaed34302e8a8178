"""How a ventricle's outline moves through a film: what needs no limits and no reference.

A smoother can drive the count of inconsistent frames to nothing by flattening the beat itself.
`area_change` says whether the beat is still there; it stands beside every count. `roughness` and
`jitter` measure flicker where there are no limits, or no labels: a motion of constant speed has
neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Course(NamedTuple):
    """One film's course; NaN is what cannot be measured."""

    area_change_percent: float
    """Of the area at ED, what is lost until ES."""
    roughness_percent: float
    """Mean distance of a frame's area from the mean of its neighbours', of the film's mean area."""
    jitter: float
    """Mean distance of an outline from half-way between its neighbours', in the outlines' unit."""


def course(
    areas: np.ndarray,
    outlines: Sequence[np.ndarray | None],
    ends: tuple[int, int] | None = None,
) -> Course:
    """Measure a film.

    Args:
        areas: (T,) of the ventricle in temporal order without gaps, NaN where there is none.
        outlines: T outlines (P, 2), closed without repeating the first point; None where none.
        ends: Places of ED and ES among the T; None where they are not known.
    """
    change = float("nan") if ends is None else area_change(areas[ends[0]], areas[ends[1]])
    return Course(change, roughness(areas), jitter(outlines))


def area_change(ed: float, es: float) -> float:
    """Percent of the area at ED that is lost until ES; NaN without one of them."""
    return float(100 * (ed - es) / ed) if ed > 0 else float("nan")


def roughness(areas: np.ndarray) -> float:
    """Mean of |a_t - (a_{t-1} + a_{t+1}) / 2| over the inner frames, in percent of the mean area.

    Args:
        areas: (T,), NaN where there is none: frames beside it are left out.

    Returns:
        NaN where no three frames follow each other.
    """
    areas = np.asarray(areas, float)
    bends = np.abs(areas[1:-1] - (areas[:-2] + areas[2:]) / 2)
    if not np.isfinite(bends).any():
        return float("nan")
    return float(100 * np.nanmean(bends) / np.nanmean(areas))


def jitter(outlines: Sequence[np.ndarray | None]) -> float:
    """Mean distance of outlines from half-way between those before and after.

    Of each point of an outline, half the sum of its signed distances to the two neighbours' is
    taken: of an outline that moves at constant speed, as far outside one as inside the other.

    Args:
        outlines: T of (P, 2) points, closed without repeating the first; None where none.

    Returns:
        In their unit; NaN where no three frames follow each other.
    """
    found = [
        np.abs(signed_distances(now, before) + signed_distances(now, after)).mean() / 2
        for before, now, after in zip(outlines, outlines[1:], outlines[2:], strict=False)
        if not any(one is None for one in (before, now, after))
    ]
    return float(np.mean(found)) if found else float("nan")


def signed_distances(points: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Distances (N,) of points (N, 2) from a closed outline (P, 2), positive inside."""
    start, end = outline, np.roll(outline, -1, axis=0)  # (P, 2)
    along = end - start
    offset = points[:, None] - start  # (N, P, 2)
    squared = np.maximum((along**2).sum(-1), np.finfo(float).tiny)
    share = np.clip((offset * along).sum(-1) / squared, 0, 1)
    nearest = np.linalg.norm(offset - share[..., None] * along, axis=-1).min(axis=1)
    y = points[:, None, 1]
    crossed = (start[:, 1] <= y) != (end[:, 1] <= y)
    side = along[:, 0] * offset[..., 1] - along[:, 1] * offset[..., 0]  # (N, P)
    inside = (crossed & ((side > 0) == (along[:, 1] > 0))).sum(axis=1) % 2 == 1
    return np.where(inside, nearest, -nearest)
