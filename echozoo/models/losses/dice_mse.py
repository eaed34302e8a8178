"""Dice and mean squared error, the loss that autosamus.txt states."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from echozoo.models.losses.base import DiceAndPixelLoss
from echozoo.registry import MODELS


@MODELS.register_module()
class DiceMSELoss(DiceAndPixelLoss):
    """Weighted sum of a soft Dice loss and the mean squared error of K masks' probabilities.

    Args:
        dice_weight: Weight of Dice; the document states none.
        mse_weight: Weight of the squared error.
        dice_over: What one Dice is taken over, see `DiceAndPixelLoss`.
        eps: Keeps Dice finite where both masks are empty.
    """

    pixel_name = "loss_mse"

    def __init__(
        self,
        dice_weight: float = 1.0,
        mse_weight: float = 1.0,
        dice_over: Literal["sample", "batch"] = "sample",
        eps: float = 1e-5,
    ) -> None:
        super().__init__(dice_weight, mse_weight, dice_over, eps)

    def of_pixels(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Squared error of the probabilities (N, K, h, w)."""
        return (logits.sigmoid() - masks).square()
