"""Connected regions of masks: components, and pockets of background that masks enclose.

Foreground is connected over edges and corners, background over edges only, so that no region can
cross another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

_CORNERS = np.ones((3, 3), bool)


def component_sizes(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the components of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) numbers from 1, 0 outside the mask; and the pixels of each component (N,).
    """
    numbers, count = ndimage.label(mask, _CORNERS)
    return numbers, np.bincount(numbers.ravel(), minlength=count + 1)[1:]


def pockets(masks: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """Find background that masks enclose.

    Args:
        masks: (K, H, W) bool; background is what is in none of them.

    Yields:
        The pocket as a mask (H, W), and the indices of the structures along its edge. Background
        that reaches the edge of the image is no pocket.
    """
    background = ~masks.any(axis=0)
    numbers, count = ndimage.label(background)
    rim = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    for number in np.setdiff1d(np.arange(1, count + 1), rim):
        pocket = numbers == number
        edge = ndimage.binary_dilation(pocket) & ~pocket
        yield pocket, tuple(np.flatnonzero(masks[:, edge].any(axis=1)).tolist())


def holes(masks: np.ndarray, structures: Sequence[str]) -> Iterator[tuple[np.ndarray, int]]:
    """Find the holes of structures: pockets with one structure all around.

    A myocardium all around is no hole where no left ventricle was found: that is its cavity.

    Args:
        masks: (K, H, W) bool.
        structures: The K short names.

    Yields:
        The hole as a mask (H, W), and the index of its structure.
    """
    names = list(structures)
    has_cavity = "lv" in names and masks[names.index("lv")].any()
    for pocket, around in pockets(masks):
        if len(around) == 1 and (names[around[0]] != "myo" or has_cavity):
            yield pocket, around[0]
