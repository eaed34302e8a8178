"""Volumes and ejection fraction of the left ventricle by the method of disks (Simpson's rule).

**Two conventions of the disks' height.** A volume is pi/4 * sum(d_2CH * d_4CH) * step. The older
Info files of CAMUS (LVedv, LVesv, LVef), and clinical practice, take the step from the longer of
the two views at each instant ("per_phase"). The script published with the files of 2023 takes one
step for everything, the longest of all four ("global"): the short ventricle of systole is measured
with the length of diastole, and EF comes out 5 to 10 points lower. The EF of the Info files of 2023
is of that kind, LVef is not: never compare one with the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from echozoo.errors import ConfigError, DataError
from echozoo.evaluation.functional.disks import NUM_DISKS, Disks, disks

PER_PHASE, GLOBAL = STEPS = ("per_phase", "global")
BIPLANE, SINGLE_2CH, SINGLE_4CH = METHODS = ("biplane", "single-plane 2CH", "single-plane 4CH")

_MM3_PER_ML = 1000.0
# A swing of the area curve smaller than this share of the largest one is no heart beat.
_LEAST_SWING = 0.5

Pair = tuple[np.ndarray, np.ndarray]


class EjectionFraction(NamedTuple):
    """Volumes at end diastole and end systole, and what share of the first is ejected.

    NaN where a mask that is needed shows no ventricle. Negative where the ventricle is larger at
    end systole: the sign is kept, as it says that something is wrong.
    """

    edv_ml: float
    esv_ml: float
    ef_percent: float
    method: str
    """"biplane", or "single-plane 2CH", "single-plane 4CH" where the other view is not there."""
    step: str
    """"per_phase" or "global"."""


def lv_volume(section: Disks, other: Disks | None = None, length_mm: float | None = None) -> float:
    """Volume of the left ventricle from one or two apical sections.

    Args:
        section: Disks of one view.
        other: Disks of the other view (biplane); without it, disks are taken as round
            (single-plane).
        length_mm: What 20 disks are high together; the longer section if None.

    Returns:
        Millilitres; NaN where a section shows no ventricle.
    """
    other = section if other is None else other
    if length_mm is None:
        length_mm = float(np.maximum(section.length_mm, other.length_mm))
    areas = np.pi / 4 * section.diameters_mm * other.diameters_mm
    return float(areas.sum() * length_mm / NUM_DISKS / _MM3_PER_ML)


def ejection_fraction(
    two_chamber: Pair | None,
    four_chamber: Pair | None,
    spacings: tuple[tuple[float, float] | None, tuple[float, float] | None],
    step: str = PER_PHASE,
) -> EjectionFraction:
    """Ejection fraction from masks of the LV cavity at end diastole and end systole.

    Args:
        two_chamber: (H, W) masks of the two-chamber view at (ED, ES); None where it is not there.
        four_chamber: Likewise of the four-chamber view.
        spacings: (dy, dx) in mm of the two-chamber and of the four-chamber view.
        step: "per_phase" or "global", see above.

    Returns:
        Biplane where both views are given, otherwise single-plane, and named so.

    Raises:
        ConfigError: The step is unknown.
        DataError: There is no view, or a mask or a spacing is malformed.
    """
    sections = [
        None if masks is None else tuple(disks(mask, spacing) for mask in masks)
        for masks, spacing in zip((two_chamber, four_chamber), spacings, strict=True)
    ]
    return ejection_fraction_of_disks(*sections, step=step)


def ejection_fraction_of_disks(
    two_chamber: tuple[Disks, Disks] | None,
    four_chamber: tuple[Disks, Disks] | None,
    step: str = PER_PHASE,
) -> EjectionFraction:
    """As `ejection_fraction`, from the disks of each mask: (ED, ES) of each view."""
    if step not in STEPS:
        raise ConfigError(f"step={step!r}: wanted one of {', '.join(STEPS)}")
    views = [view for view in (two_chamber, four_chamber) if view is not None]
    if not views:
        raise DataError("ejection fraction of no view: wanted the 2CH view, the 4CH view or both")
    method = BIPLANE if len(views) == 2 else SINGLE_2CH if two_chamber else SINGLE_4CH
    lengths = np.array([[section.length_mm for section in view] for view in views])  # (views, 2)
    heights = lengths.max(axis=0) if step == PER_PHASE else np.full(2, lengths.max())
    edv, esv = (
        lv_volume(*(view[instant] for view in views), length_mm=float(heights[instant]))
        for instant in (0, 1)
    )
    ef = 100 * (edv - esv) / edv if edv > 0 else float("nan")
    return EjectionFraction(edv, esv, ef, method, step)


def find_ed_es(areas: np.ndarray) -> tuple[int, int]:
    """Find end diastole and end systole in the curve of the LV's area (or volume) over a film.

    The film may show several beats, one, or half a beat in either direction. ED and ES are the two
    ends of the deepest contraction in it: neighbouring extrema of the smoothed curve, ED first;
    where the film only shows the filling, ES comes first. Single frames that stand out, frames
    without a number and empty masks (0) do not count.

    Args:
        areas: (T,) area of each frame, in any unit; NaN or 0 where there is none.

    Returns:
        Frames (ed, es).

    Raises:
        DataError: Fewer than two frames have an area, or all have the same.
    """
    curve = _curve(areas)
    turns = _turning_points(curve)
    contractions = _contractions(curve, turns)
    if contractions:
        return max(contractions, key=lambda pair: curve[pair[0]] - curve[pair[1]])
    return turns[-1], turns[0]


def find_beats(areas: np.ndarray) -> list[tuple[int, int]]:
    """Find end diastole and end systole of every contraction in a curve; see `find_ed_es`.

    A contraction that the film's first or last frame cuts is left out where there is a whole one.

    Returns:
        Frames (ed, es) of each, in the film's order; the one pair of `find_ed_es` where no
        contraction is whole.

    Raises:
        DataError: As `find_ed_es`.
    """
    curve = _curve(areas)
    contractions = _contractions(curve, _turning_points(curve))
    last = len(curve) - 1
    whole = [(ed, es) for ed, es in contractions if ed > 0 and es < last]
    return whole or [find_ed_es(areas)]


def _curve(areas: np.ndarray) -> np.ndarray:
    """The smoothed curve (T,), frames without an area filled from their neighbours."""
    areas = np.asarray(areas, dtype=float)
    known = np.flatnonzero(np.isfinite(areas) & (areas > 0))
    if areas.ndim != 1 or known.size < 2:
        raise DataError(
            f"{known.size} frames of {areas.size} show a ventricle: wanted 2 or more to find ED"
            " and ES"
        )
    curve = _smooth(np.interp(np.arange(areas.size), known, areas[known]))
    if np.ptp(curve) == 0:
        raise DataError(f"the ventricle has one area in all {areas.size} frames: no ED and no ES")
    return curve


def _contractions(curve: np.ndarray, turns: list[int]) -> list[tuple[int, int]]:
    pairs = zip(turns, turns[1:], strict=False)
    return [(first, last) for first, last in pairs if curve[first] > curve[last]]


def _smooth(curve: np.ndarray) -> np.ndarray:
    if curve.size < 5:
        return curve
    # The median takes out up to two frames side by side, and leaves a curve that only falls or
    # only rises as it is: half a beat keeps its ends.
    middle = ndimage.median_filter(curve, 5, mode="nearest")
    return ndimage.gaussian_filter1d(middle, 1.0, mode="nearest")


def _turning_points(curve: np.ndarray) -> list[int]:
    """Highest and lowest points in turn, with a swing of half the largest one between them."""
    least = _LEAST_SWING * (curve.max() - curve.min())
    high = low = 0
    turns: list[int] = []
    rising: bool | None = None
    for frame, value in enumerate(curve):
        high = frame if value > curve[high] else high
        low = frame if value < curve[low] else low
        if rising is not False and curve[high] - value > least:
            turns.append(high)
            rising, low = False, frame
        elif rising is not True and value - curve[low] > least:
            turns.append(low)
            rising, high = True, frame
    return [*turns, high if rising else low]
