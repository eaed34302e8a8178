from __future__ import annotations

import math

import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.models.losses.dice_ce import DiceCELoss


def confident(masks: torch.Tensor) -> torch.Tensor:
    return torch.where(masks > 0, 40.0, -40.0)


def random_masks(*shape: int) -> torch.Tensor:
    return (torch.rand(shape) > 0.6).float()


@pytest.mark.parametrize("dice_over", ["sample", "batch"])
def test_a_perfect_prediction_costs_nothing(dice_over):
    masks = random_masks(3, 2, 8, 8)
    losses = DiceCELoss(dice_over=dice_over)(confident(masks), masks)
    assert losses["loss_dice"] == pytest.approx(0, abs=1e-6)
    assert losses["loss_ce"] == pytest.approx(0, abs=1e-6)


def test_known_value():
    # p = 0.5 everywhere; 4 of 16 pixels are foreground:
    # Dice = 1 - 2 * 4 * 0.5 / (16 * 0.25 + 4) = 0.5, cross entropy = log 2.
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., :2, :2] = 1
    losses = DiceCELoss(dice_weight=0.8, ce_weight=0.2, eps=0)(torch.zeros(1, 1, 4, 4), masks)
    assert losses["loss_dice"] == pytest.approx(0.8 * 0.5)
    assert losses["loss_ce"] == pytest.approx(0.2 * math.log(2))


def test_batch_dice_pools_pixels_and_sample_dice_averages_images():
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, 0] = 1  # 16 pixels, found; the second image's single pixel is missed
    masks[1, 0, 0, 0] = 1
    logits = confident(masks)
    logits[1] = -40
    by_sample = DiceCELoss(1, 0, dice_over="sample")(logits, masks)["loss_dice"]
    by_batch = DiceCELoss(1, 0, dice_over="batch")(logits, masks)["loss_dice"]
    assert by_sample == pytest.approx(0.5, abs=1e-4)
    assert by_batch == pytest.approx(1 - 32 / 33, abs=1e-4)


def test_sample_dice_of_a_batch_is_the_mean_over_its_halves():
    logits, masks = torch.randn(4, 3, 8, 8), random_masks(4, 3, 8, 8)
    loss = DiceCELoss()
    whole = sum(loss(logits, masks).values())
    halves = [sum(loss(logits[i : i + 2], masks[i : i + 2]).values()) for i in (0, 2)]
    torch.testing.assert_close(whole, sum(halves) / 2)


def test_pos_weight_is_that_of_torch():
    logits, masks = torch.randn(2, 1, 8, 8), random_masks(2, 1, 8, 8)
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))(logits, masks)
    torch.testing.assert_close(DiceCELoss(0, 1, pos_weight=2)(logits, masks)["loss_ce"], expected)


def test_an_absent_structure_gives_a_finite_gradient():
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    sum(DiceCELoss()(logits, torch.zeros(1, 1, 4, 4)).values()).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad > 0).all()


def test_an_unknown_reduction_is_named():
    with pytest.raises(ConfigError, match="dice_over='images'"):
        DiceCELoss(dice_over="images")
