"""Overlap of two masks: Dice and IoU.

Neither has a smoothing term: with one, two empty masks score 1, and a model that predicts nothing
at all collects 0.67 on CAMUS without finding anything.
"""

from __future__ import annotations

import numpy as np

from echozoo.evaluation.functional.masks import as_mask_pair


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice similarity coefficient of one image, 2 |P and R| / (|P| + |R|).

    Args:
        prediction: (H, W) mask.
        reference: (H, W) mask.

    Returns:
        A number in [0, 1]; NaN where either mask is empty, for the caller to count.

    Raises:
        DataError: The masks are not of one size.
    """
    shared, sizes = _shared_and_sizes(prediction, reference)
    return 2 * shared / sum(sizes) if all(sizes) else float("nan")


def iou(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Intersection over union (Jaccard index) of one image, |P and R| / |P or R|.

    Args:
        prediction: (H, W) mask.
        reference: (H, W) mask.

    Returns:
        A number in [0, 1]; NaN where either mask is empty, for the caller to count.

    Raises:
        DataError: The masks are not of one size.
    """
    shared, sizes = _shared_and_sizes(prediction, reference)
    return shared / (sum(sizes) - shared) if all(sizes) else float("nan")


def _shared_and_sizes(prediction: np.ndarray, reference: np.ndarray) -> tuple[int, tuple[int, int]]:
    prediction, reference = as_mask_pair(prediction, reference)
    sizes = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    return int(np.count_nonzero(prediction & reference)), sizes
