"""Clicks as discs in a mask: as large as what is wrong around them, and later ones see earlier."""

from __future__ import annotations

import pytest
import torch

from echozoo.models.prompt_heads.painting import paint_clicks

SIZE = 64


def disc(x: int, y: int, radius: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def painted(mask: torch.Tensor, *clicks: tuple[int, int, int]) -> torch.Tensor:
    """The mask (H, W) bool with clicks (x, y, label)."""
    points = torch.tensor([[click[:2] for click in clicks]], dtype=torch.float32)
    labels = torch.tensor([[click[2] for click in clicks]])
    logits = torch.where(mask, 10.0, -10.0)[None]
    return paint_clicks(logits, points, labels, certain=11.0)[0]


def test_a_disc_ends_at_the_nearest_pixel_that_is_right():
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[:, 40:] = True  # x
    added = painted(mask, (30, 20, 1))
    assert ((added > 0) == (mask | disc(30, 20, 10))).all()
    assert (added[disc(30, 20, 10)] == 11).all()
    removed = painted(mask, (50, 20, 0))
    assert ((removed > 0) == (mask & ~disc(50, 20, 11))).all()


@pytest.mark.parametrize(("label", "radius"), [(1, 24), (0, 3)])
def test_an_empty_mask_gets_the_largest_disc_and_a_needless_click_the_smallest(label, radius):
    empty = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    found = painted(empty, (30, 20, label))
    assert (found[disc(30, 20, radius)] == (11 if label else -11)).all()
    assert (found[~disc(30, 20, radius)] < 0).all()


def test_a_later_click_sees_the_discs_of_earlier_ones_and_padding_draws_nothing():
    empty = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    found = painted(empty, (30, 20, 1), (30, 20, -1), (30, 50, 1)) > 0
    # 30 px below the first click, whose disc has a radius of 24: its last row is 43.
    assert (found == (disc(30, 20, 24) | disc(30, 50, 7))).all()
    assert (painted(empty, (30, 20, -1)) == -10).all()


@pytest.mark.parametrize(("x", "label", "lacking"), [(28, 1, 3.0), (40, 0, 4.0), (40, 1, 0.0)])
def test_beyond_the_disc_an_unsure_outline_follows(x, label, lacking):
    unsure = ((torch.arange(SIZE) - 32) / 4).expand(1, SIZE, SIZE)  # log odds -1 at x = 28
    found = paint_clicks(unsure, torch.tensor([[[x, 20.0]]]), torch.tensor([[label]]), 10.0)[0]
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    hill = lacking * torch.exp(-((columns - x) ** 2 + (rows - 20) ** 2) / 200)
    outside = ~disc(x, 20, 12)
    expected = unsure[0] + (2 * label - 1) * hill
    torch.testing.assert_close(found[outside], expected[outside])


def test_each_mask_gets_its_own_clicks():
    masks = torch.full((2, SIZE, SIZE), -10.0)
    points = torch.tensor([[[10.0, 10]], [[50, 50]]])
    found = paint_clicks(masks, points, torch.ones(2, 1), 10.0) > 0
    assert (found == torch.stack([disc(10, 10, 24), disc(50, 50, 24)])).all()
