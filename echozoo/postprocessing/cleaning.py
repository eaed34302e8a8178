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

    Between them are slits that a disc of the width does not pass, and background that the two
    enclose, of any width. Without both structures in the image nothing is done.

    Args:
        width_mm: Widest slit that is closed, in mm (in pixels where the spacing is unknown).
    """

    def __init__(self, width_mm: float = 2.0) -> None:
        self.width_mm = width_mm

    def __call__(
        self, masks: np.ndarray, structures: Sequence[str], spacing: Spacing | None = None
    ) -> np.ndarray:
        """Return masks (K, H, W) without a gap between "lv" and "myo"."""
        closed, names = masks.copy(), list(structures)
        if not {"lv", "myo"} <= set(names):
            return closed
        lv, myo = names.index("lv"), names.index("myo")
        if masks[lv].any() and masks[myo].any():
            slits = self._slits(masks, lv, myo, spacing or (1.0, 1.0))
            closed[myo] |= slits
            # A slit that was closed can have sealed what lies behind it.
            with_slits = np.concatenate([masks, slits[None]])
            for pocket, around in pockets(with_slits):
                if set(around) <= {lv, myo, len(names)} and set(around) not in ({lv}, {myo}):
                    closed[myo] |= pocket
        return closed

    def _slits(self, masks: np.ndarray, lv: int, myo: int, spacing: Spacing) -> np.ndarray:
        """Find background that a disc of the width cannot enter and that borders on both."""
        both = masks[lv] | masks[myo]
        reach = self.width_mm / 2
        margin = [(int(reach / step) + 2,) * 2 for step in spacing]
        grown = ndimage.distance_transform_edt(~np.pad(both, margin), sampling=spacing) <= reach
        filled = ndimage.distance_transform_edt(grown, sampling=spacing) > reach
        inner = tuple(slice(before, -after) for before, after in margin)
        numbers, count = ndimage.label(filled[inner] & ~masks.any(axis=0))
        touching = [np.unique(numbers[ndimage.binary_dilation(masks[k])]) for k in (lv, myo)]
        return np.isin(numbers, np.intersect1d(*touching)) & (numbers > 0)
