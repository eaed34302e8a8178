"""What every measure of two masks starts from."""

from __future__ import annotations

import numpy as np

from echozoo.errors import DataError


def as_mask_pair(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give two masks of one image as booleans.

    Args:
        prediction: (H, W), foreground is what is not zero.
        reference: (H, W), likewise.

    Returns:
        The same two, (H, W) bool; no copy of what is bool already.

    Raises:
        DataError: They are not two-dimensional or not of one size.
    """
    if prediction.ndim != 2 or prediction.shape != reference.shape:
        raise DataError(
            f"prediction {prediction.shape} and reference {reference.shape}: wanted two masks "
            "(H, W) of one size; bring the prediction to the reference's grid first"
        )
    return prediction.astype(bool, copy=False), reference.astype(bool, copy=False)


def resize_nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask or label map by taking the pixel under each new pixel's centre.

    The same rule as Pillow's NEAREST, OpenCV's INTER_NEAREST_EXACT and torch's "nearest-exact".

    Args:
        mask: (H, W), any type.
        size: (h, w) wanted.

    Returns:
        (h, w), of the mask's type.
    """
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for new, old in zip(size, mask.shape, strict=True)
    )
    return mask.take(rows, axis=0).take(columns, axis=1)
