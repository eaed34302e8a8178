"""Dice and cross entropy, weighted as SAMUS and both documents have it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.models.losses.base import DiceAndPixelLoss
from echozoo.registry import MODELS


@MODELS.register_module()
class DiceCELoss(DiceAndPixelLoss):
    """Weighted sum of a soft Dice loss and binary cross entropy of K masks.

    Args:
        dice_weight: Weight of Dice; the documents state 0.8.
        ce_weight: Weight of cross entropy; the documents state 0.2.
        dice_over: What one Dice is taken over, see `DiceAndPixelLoss`.
        pos_weight: Weight of foreground pixels in the cross entropy; published SAMUS has 2.
        eps: Keeps Dice finite where both masks are empty.
    """

    pixel_name = "loss_ce"

    def __init__(
        self,
        dice_weight: float = 0.8,
        ce_weight: float = 0.2,
        dice_over: Literal["sample", "batch"] = "sample",
        pos_weight: float = 1.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(dice_weight, ce_weight, dice_over, eps)
        self.register_buffer("pos_weight", torch.tensor(pos_weight), persistent=False)

    def of_pixels(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Binary cross entropy (N, K, h, w)."""
        return F.binary_cross_entropy_with_logits(
            logits, masks, pos_weight=self.pos_weight, reduction="none"
        )
