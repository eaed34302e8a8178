"""What one labelled frame measures: lengths, areas and single-plane volumes of the chambers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from echozoo.evaluation.functional.disks import SMALLEST_MM2, Disks, disks, inside_lengths, outline
from echozoo.evaluation.functional.ejection_fraction import lv_volume

LV, MYO, LA = 1, 2, 3
"""Labels of CAMUS."""
_MM2_PER_CM2 = 100.0
_NAN = float("nan")


class FrameMeasures(NamedTuple):
    """Measures of one frame; NaN where a structure is absent or smaller than 1 cm2."""

    lv_area_cm2: float
    lv_length_mm: float
    """From the middle of the mitral plane to the apex."""
    lv_base_width_mm: float
    """Between the two ends of the mitral plane."""
    lv_volume_ml: float
    """Single-plane, method of disks."""
    myo_area_cm2: float
    la_area_cm2: float
    la_length_mm: float
    """From the middle of the mitral plane through the atrium's centre to its roof."""
    la_volume_ml: float
    """Single-plane, area-length."""


def measure_frame(
    labels: np.ndarray, spacing: tuple[float, float], section: Disks | None = None
) -> FrameMeasures:
    """Measure one frame.

    Areas count all pixels of a structure; lengths and the LV's volume see the largest connected
    part alone.

    Args:
        labels: (H, W), 1 LV cavity, 2 myocardium, 3 left atrium.
        spacing: (dy, dx) of a pixel, mm.
        section: Disks of the frame's LV, if they are known already.

    Raises:
        DataError: The label map is not two-dimensional, or the spacing is not positive.
    """
    section = disks(labels == LV, spacing) if section is None else section
    la_area, la_length = area_cm2(labels == LA, spacing), _la_length(labels, spacing, section)
    return FrameMeasures(
        lv_area_cm2=area_cm2(labels == LV, spacing),
        lv_length_mm=section.length_mm,
        lv_base_width_mm=section.base_width_mm,
        lv_volume_ml=lv_volume(section),
        myo_area_cm2=area_cm2(labels == MYO, spacing),
        la_area_cm2=la_area,
        la_length_mm=la_length,
        la_volume_ml=area_length_volume((la_area, la_area), (la_length, la_length)),
    )


def la_volume(labels: np.ndarray, spacing: tuple[float, float], section: Disks) -> float:
    """Volume of the left atrium in one view, by area and length.

    Args:
        labels: (H, W), 1 LV cavity, 3 left atrium.
        spacing: (dy, dx) of a pixel, mm.
        section: Disks of the frame's LV, whose base is the mitral plane.

    Returns:
        Millilitres; NaN where the atrium or the ventricle is missing.
    """
    area, length = area_cm2(labels == LA, spacing), _la_length(labels, spacing, section)
    return area_length_volume((area, area), (length, length))


def area_cm2(mask: np.ndarray, spacing: tuple[float, float]) -> float:
    """Area of a mask's pixels.

    Args:
        mask: (H, W), foreground is what is not zero.
        spacing: (dy, dx) of a pixel, mm.

    Returns:
        Square centimetres; NaN below 1 cm2, which is no chamber and no wall.
    """
    area = np.count_nonzero(mask) * spacing[0] * spacing[1]
    return area / _MM2_PER_CM2 if area >= SMALLEST_MM2 else _NAN


def area_length_volume(areas_cm2: tuple[float, float], lengths_mm: tuple[float, float]) -> float:
    """Volume of a chamber by the area-length formula, 8 A1 A2 / (3 pi L), exact for an ellipsoid.

    Args:
        areas_cm2: Area in each of two views; twice the same one for a single view.
        lengths_mm: Length in each of them: the shorter one counts, as the guidelines for the left
            atrium have it.

    Returns:
        Millilitres; NaN where a number is missing.
    """
    length_cm = float(np.minimum(*lengths_mm)) / 10
    return 8 * areas_cm2[0] * areas_cm2[1] / (3 * np.pi * length_cm)


def _la_length(labels: np.ndarray, spacing: tuple[float, float], section: Disks) -> float:
    points = outline(labels == LA, spacing)
    if points is None or np.isnan(section.length_mm):
        return _NAN
    mitral = section.base_centre * spacing[::-1]
    along = points.mean(axis=0) - mitral
    along /= np.hypot(*along)
    across = np.array([-along[1], along[0]])
    return float(inside_lengths(points - mitral, across, np.zeros(1))[0])
