"""Measures as plain functions of numpy arrays: no torch, no OpenMMLab."""

from echozoo.evaluation.functional.aggregate import (
    Estimate,
    Summary,
    bootstrap_interval,
    summarise,
)
from echozoo.evaluation.functional.overlap import dice, iou
from echozoo.evaluation.functional.surface import (
    SurfaceDistances,
    assd_mm,
    hd95_mm,
    hd_mm,
    hd_px,
    surface_distances,
)
