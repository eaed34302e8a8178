"""Dice and mean squared error, the loss that autosamus.txt states."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.losses.dice_ce import soft_dice_loss, summed_dims
from echozoo.registry import MODELS


@MODELS.register_module()
class DiceMSELoss(nn.Module):
    """Weighted sum of a soft Dice loss and the mean squared error of K masks' probabilities.

    Args:
        dice_weight: Weight of Dice; the document states none.
        mse_weight: Weight of the squared error.
        dice_over: What one Dice is taken over, as in `DiceCELoss`.
        eps: Keeps Dice finite where both masks are empty.
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        mse_weight: float = 1.0,
        dice_over: Literal["sample", "batch"] = "sample",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.dice_weight = dice_weight
        self.mse_weight = mse_weight
        self.summed_dims = summed_dims(dice_over)
        self.eps = eps

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Compute both terms.

        Args:
            logits: Predicted logits (N, K, h, w).
            masks: Reference masks (N, K, h, w) in {0, 1}, of the logits' dtype.

        Returns:
            ``loss_dice`` and ``loss_mse``, scalars, already weighted.
        """
        probabilities = logits.sigmoid()
        dice = soft_dice_loss(probabilities, masks, self.summed_dims, self.eps)
        mse = F.mse_loss(probabilities, masks)
        return {"loss_dice": self.dice_weight * dice.mean(), "loss_mse": self.mse_weight * mse}
