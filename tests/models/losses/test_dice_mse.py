from __future__ import annotations

import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.models.losses.dice_ce import DiceCELoss
from echozoo.models.losses.dice_mse import DiceMSELoss
from echozoo.registry import MODELS


def random_masks(*shape: int) -> torch.Tensor:
    return (torch.rand(shape) > 0.6).float()


@pytest.mark.parametrize("dice_over", ["sample", "batch"])
def test_a_perfect_prediction_costs_nothing(dice_over):
    masks = random_masks(3, 2, 8, 8)
    losses = DiceMSELoss(dice_over=dice_over)(80 * masks - 40, masks)
    assert losses["loss_dice"] == pytest.approx(0, abs=1e-6)
    assert losses["loss_mse"] == pytest.approx(0, abs=1e-6)


def test_known_value():
    # p = 0.25 everywhere; 4 of 16 pixels are foreground:
    # Dice = 1 - 2 * 4 * 0.25 / (16 / 16 + 4) = 0.6, MSE = (4 * 0.75^2 + 12 * 0.25^2) / 16.
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., :2, :2] = 1
    logits = torch.full((1, 1, 4, 4), 0.25).logit()
    losses = MODELS.build(dict(type="DiceMSELoss", eps=0))(logits, masks)
    assert losses.keys() == {"loss_dice", "loss_mse"}
    assert losses["loss_dice"] == pytest.approx(0.6)
    assert losses["loss_mse"] == pytest.approx(3 / 16)
    losses = DiceMSELoss(dice_weight=0.8, mse_weight=0.2, eps=0)(logits, masks)
    assert losses["loss_dice"] == pytest.approx(0.8 * 0.6)
    assert losses["loss_mse"] == pytest.approx(0.2 * 3 / 16)


@pytest.mark.parametrize("dice_over", ["sample", "batch"])
def test_dice_is_that_of_the_other_loss(dice_over):
    logits, masks = torch.randn(4, 3, 8, 8), random_masks(4, 3, 8, 8)
    ours = DiceMSELoss(dice_over=dice_over)(logits, masks)["loss_dice"]
    other = DiceCELoss(dice_weight=1, dice_over=dice_over)(logits, masks)["loss_dice"]
    torch.testing.assert_close(ours, other)


def test_a_batch_costs_the_mean_over_its_halves():
    logits, masks = torch.randn(4, 3, 8, 8), random_masks(4, 3, 8, 8)
    loss = DiceMSELoss()
    whole = sum(loss(logits, masks).values())
    halves = [sum(loss(logits[i : i + 2], masks[i : i + 2]).values()) for i in (0, 2)]
    torch.testing.assert_close(whole, sum(halves) / 2)


def test_an_absent_structure_is_pushed_away():
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    sum(DiceMSELoss()(logits, torch.zeros(1, 1, 4, 4)).values()).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad > 0).all()


def test_an_unknown_reduction_is_named():
    with pytest.raises(ConfigError, match="dice_over='images'"):
        DiceMSELoss(dice_over="images")
