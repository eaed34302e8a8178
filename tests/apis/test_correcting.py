"""Simulated clicks: where they lie, and when the person is content."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echozoo.apis.correcting import NEVER, clicks_needed, correct
from echozoo.models.segmentors.wrong_points import next_click


def box(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_a_click_lies_in_the_middle_of_the_largest_wrong_region():
    reference = box(10, 10, 31, 21)
    assert next_click(box(0, 0, 0, 0), reference)[1] == 1
    assert next_click(reference | box(40, 20, 55, 35), reference) == ((47, 27), 0)
    assert next_click(box(10, 10, 22, 21), reference) == ((26, 14), 1)
    # At the border of the image as well.
    assert next_click(box(0, 0, 9, 9), box(0, 0, 0, 0)) == ((4, 4), 0)


class Discs:
    """Stands for a model: a square around each click, filled or emptied by its label."""

    def __init__(self, automatic: bool) -> None:
        self.automatic, self.structures = automatic, ("lv",)

    def decode(self, embedding, points=None, labels=None, structures=None):
        logits = torch.full((1, 1, 40, 60), -1.0)
        given = [] if points is None else zip(points[0, 0], labels[0, 0], strict=True)
        for (x, y), label in given:
            x, y = int(x), int(y)
            logits[0, 0, max(0, y - 5) : y + 6, max(0, x - 5) : x + 6] = 2.0 * label - 1
        return logits

    def to_native(self, logits, meta):
        return logits


@pytest.mark.parametrize(("automatic", "first"), [(True, 0.0), (False, 0.0)])
def test_clicks_until_it_is_right(automatic, first):
    model = Discs(automatic)
    embedding = type("Embedding", (), {"meta": None})
    reached = correct(model, embedding, "lv", box(10, 10, 21, 21), goal=0.95)
    assert reached == [first, 1.0]
    wide = correct(model, embedding, "lv", box(10, 10, 32, 21), most=1)
    assert wide[0] == first
    assert len(wide) == 2
    assert wide[1] == pytest.approx(2 * 121 / (242 + 121))


def test_how_many_were_needed():
    assert clicks_needed([0.95], 0.9) == 0
    assert clicks_needed([0.5, 0.8, 0.91], 0.9) == 2
    assert clicks_needed([0.5, 0.8], 0.9) == NEVER
