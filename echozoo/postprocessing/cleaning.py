"""Steps that repair masks by what a heart's shape must be, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from echozoo.datasets.anatomy import choose_structures
from echozoo.postprocessing.base import MaskStep, Spacing
from echozoo.postprocessing.regions import component_sizes, holes, pockets
from echozoo.registry import POSTPROCESSING


def _chosen(structures: Sequence[str] | None) -> frozenset[str] | None:
    if structures is None:
        return None
    return frozenset(structure.short for structure in choose_structures(tuple(structures)))


@POSTPROCESSING.register_module()
class LargestComponent(MaskStep):
    """Keep the largest connected component of each structure; an empty mask stays empty.

    Args:
        structures: Short names of those to treat; None for all.
    """

    def __init__(self, structures: Sequence[str] | None = None) -> None:
        self.structures = _chosen(structures)

    def __call__(
        self, masks: np.ndarray, structures: Sequence[str], spacing: Spacing | None = None
    ) -> np.ndarray:
        """Return masks (K, H, W) of one component each."""
        masks = masks.copy()
        for mask, name in zip(masks, structures, strict=True):
            if self.structures is None or name in self.structures:
                numbers, sizes = component_sizes(mask)
                if len(sizes) > 1:
                    mask[:] = numbers == 1 + sizes.argmax()
        return masks


@POSTPROCESSING.register_module()
class FillHoles(MaskStep):
    """Give background with one structure all around to that structure.

    What another structure fills is no hole, nor is the cavity of a myocardium whose left ventricle
    was not found.

    Args:
        structures: Short names of those to treat; None for all.
    """

    def __init__(self, structures: Sequence[str] | None = None) -> None:
        self.structures = _chosen(structures)

    def __call__(
        self, masks: np.ndarray, structures: Sequence[str], spacing: Spacing | None = None
    ) -> np.ndarray:
        """Return masks (K, H, W) without holes."""
        filled = masks.copy()
        for hole, index in holes(masks, structures):
            if self.structures is None or structures[index] in self.structures:
                filled[index] |= hole
        return filled


@POSTPROCESSING.register_module()
class CloseGap(MaskStep):
    """Give background between the left ventricle and its myocardium to the myocardium.

    Between them is background that the two enclose, of any width, and slits open to the outside
    up to a width: pixels with the two on opposite sides. Masks that lie against each other are
    left as they are. Without both structures in the image nothing is done.

    Args:
        width_mm: Widest slit that is closed, in mm (in pixels where the spacing is unknown).
    """

    def __init__(self, width_mm: float = 2.0) -> None:
        self.width_mm = width_mm

    def __call__(
        self, masks: np.ndarray, structures: Sequence[str], spacing: Spacing | None = None
    ) -> np.ndarray:
        """Return masks (K, H, W) without a gap between "lv" and "myo"."""
        names = list(structures)
        if not {"lv", "myo"} <= set(names):
            return masks.copy()
        lv, myo = names.index("lv"), names.index("myo")
        closed = masks.copy()
        if masks[lv].any() and masks[myo].any():
            closed[myo] |= self._slits(masks, lv, myo, spacing or (1.0, 1.0))
            for pocket, around in pockets(masks):
                if set(around) == {lv, myo}:
                    closed[myo] |= pocket
        return closed

    def _slits(self, masks: np.ndarray, lv: int, myo: int, spacing: Spacing) -> np.ndarray:
        """Find background with the two on opposite sides, no further apart than the width."""
        to_lv, far_lv = _way_to(masks[lv], spacing)
        to_myo, far_myo = _way_to(masks[myo], spacing)
        # Between the centres of the pixels on both sides: one pixel more than the slit is wide.
        near = far_lv + far_myo <= self.width_mm + min(spacing)
        # Below the end of the wall the two are near as well, but on the same side.
        opposite = (to_lv * to_myo).sum(axis=0) < -0.5 * far_lv * far_myo
        return near & opposite & ~masks.any(axis=0)


def _way_to(mask: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """In mm: from each pixel the vector (2, H, W) to the nearest of a mask, and its length."""
    distance, nearest = ndimage.distance_transform_edt(~mask, sampling=spacing, return_indices=True)
    steps = nearest - np.indices(mask.shape)
    return steps * np.array(spacing)[:, None, None], distance
