from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou

from echozoo.errors import DataError
from echozoo.evaluation.functional import dice, iou


def square(top: int, left: int, side: int = 10, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_shifted_squares_have_the_overlap_that_geometry_says() -> None:
    prediction, reference = square(5, 8), square(5, 11)  # 7 of 10 columns in common
    assert dice(prediction, reference) == pytest.approx(0.7)
    assert iou(prediction, reference) == pytest.approx(70 / 130)


def test_equal_masks_score_one_and_disjoint_ones_zero() -> None:
    assert dice(square(0, 0), square(0, 0)) == iou(square(0, 0), square(0, 0)) == 1.0
    assert dice(square(0, 0), square(20, 20)) == iou(square(0, 0), square(20, 20)) == 0.0


@pytest.mark.parametrize("measure", [dice, iou])
def test_an_empty_mask_is_nan_never_one(measure) -> None:
    empty = np.zeros((40, 50), bool)
    for prediction, reference in ((empty, square(0, 0)), (square(0, 0), empty), (empty, empty)):
        assert math.isnan(measure(prediction, reference))


def test_any_nonzero_value_is_foreground() -> None:
    assert dice(square(5, 8).astype(np.uint8) * 255, square(5, 11)) == pytest.approx(0.7)


@pytest.mark.parametrize("measure", [dice, iou])
def test_masks_of_two_sizes_are_refused_even_where_numpy_would_broadcast(measure) -> None:
    with pytest.raises(DataError, match=r"\(1, 50\).*\(40, 50\)"):
        measure(np.ones((1, 50), bool), square(0, 0))


def test_equals_monai_on_random_masks() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((8, 2, 1, 33, 47)) < rng.random((8, 2, 1, 1, 1))
    prediction, reference = (torch.from_numpy(masks[:, i]) for i in (0, 1))
    theirs = {
        dice: compute_dice(prediction, reference, ignore_empty=False)[:, 0],
        iou: compute_iou(prediction, reference, ignore_empty=False)[:, 0],
    }
    for measure, expected in theirs.items():
        ours = [measure(pair[0, 0], pair[1, 0]) for pair in masks]
        assert ours == pytest.approx(expected.tolist(), abs=1e-6)
