"""What the files of a clip have to have in common, and what a mask may hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from echozoo.datasets.anatomy import Structure
from echozoo.errors import DataError

Size = tuple[int, int]
Spacing = tuple[float, float]


def check_one_grid(
    grids: Mapping[str, tuple[Size, Spacing | None]],
) -> tuple[Size, Spacing | None]:
    """Refuse frames that do not share one grid.

    Args:
        grids: Of each file its size (H, W) and its spacing (dy, dx) in mm, None where unknown; at
            least one file.

    Returns:
        The grid of the first.

    Raises:
        DataError: Another differs from it.
    """
    (first, (size, spacing)), *others = grids.items()
    for path, (other_size, other_spacing) in others:
        if other_size != size:
            raise DataError(
                f"{path}: frames of {_by(other_size)} pixels, wanted {_by(size)}"
                f" as in {first}: the frames of a clip share one grid"
            )
        if not np.allclose(other_spacing or np.nan, spacing or np.nan, rtol=1e-3, equal_nan=True):
            raise DataError(
                f"{path}: spacing of {_mm(other_spacing)}, wanted {_mm(spacing)}"
                f" as in {first}: the frames of a clip share one grid"
            )
    return size, spacing


def check_length(image_file: str, length: int, wanted: int) -> None:
    """Refuse a film that has not all the frames that its data set says.

    Raises:
        DataError: Its ``length`` is below ``wanted``.
    """
    if length < wanted:
        raise DataError(
            f"{image_file}: {length} frames, wanted {wanted} as its data set's tables say; copy the"
            " film again"
        )


def check_mask_size(
    image_file: str, image: np.ndarray, label_file: str, label: np.ndarray, aligned: bool = True
) -> None:
    """Refuse a mask (T, H, W) of another size than its image.

    Args:
        image_file: Where the image is from.
        image: (T, H, W).
        label_file: Where the mask is from.
        label: Its label maps.
        aligned: Whether they have to be of as many frames too.

    Raises:
        DataError: They differ.
    """
    if label.shape[not aligned :] != image.shape[not aligned :]:
        raise DataError(
            f"{label_file}: mask of {_by(label.shape)} (frames, rows, columns), wanted"
            f" {_by(image.shape)} as its image {image_file}"
        )


def check_labels(label_file: str, labels: np.ndarray, label_values: Mapping[str, int]) -> None:
    """Refuse a mask with labels that the data set does not have.

    Raises:
        DataError: There is one that is neither background nor among ``label_values``.
    """
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    if not set(found.tolist()) <= {0, *label_values.values()}:
        names = {part.short: part.full_name for part in Structure}
        meanings = ", ".join(f"{value} {names[name]}" for name, value in label_values.items())
        values = ", ".join(map(str, found[:8]))
        raise DataError(
            f"{label_file}: label values {values}, wanted only 0 background, {meanings}; convert"
            " the mask"
        )


def _mm(spacing: Spacing | None) -> str:
    return f"{_by(spacing)} mm" if spacing else "unknown size"


def _by(numbers: tuple) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
