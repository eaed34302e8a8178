"""Dice and cross entropy of binary masks, weighted as SAMUS and both documents have it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import MODELS


@MODELS.register_module()
class DiceCELoss(nn.Module):
    r"""Weighted sum of a soft Dice loss and binary cross entropy.

    Dice is :math:`1 - (2 \sum pg + \epsilon) / (\sum p^2 + \sum g^2 + \epsilon)` with
    :math:`p` the sigmoid of the logits and :math:`g` the mask (V-Net's squared form). For a
    structure that is absent it pushes the prediction towards nothing.

    Args:
        dice_weight: Weight of Dice; the documents state 0.8.
        ce_weight: Weight of cross entropy; the documents state 0.2.
        dice_over: ``"sample"`` sums over the pixels of one mask and averages over masks, so that a
            small structure counts as much as a large one and the loss does not depend on how a
            batch is divided between processes; ``"batch"`` sums over the whole batch for each
            structure, as the published SAMUS does.
        pos_weight: Weight of foreground pixels in the cross entropy; published SAMUS has 2.
        eps: Keeps Dice finite where both masks are empty.
    """

    def __init__(
        self,
        dice_weight: float = 0.8,
        ce_weight: float = 0.2,
        dice_over: Literal["sample", "batch"] = "sample",
        pos_weight: float = 1.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if dice_over not in ("sample", "batch"):
            raise ConfigError(f"DiceCELoss: dice_over={dice_over!r}; it is 'sample' or 'batch'")
        self.dice_weight = dice_weight
        self.ce_weight = ce_weight
        self.summed_dims = (-2, -1) if dice_over == "sample" else (0, -2, -1)
        self.eps = eps
        self.register_buffer("pos_weight", torch.tensor(pos_weight), persistent=False)

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Compute both terms.

        Args:
            logits: Predicted logits (N, K, h, w).
            masks: Reference masks (N, K, h, w) in {0, 1}, of the logits' dtype.

        Returns:
            ``loss_dice`` and ``loss_ce``, scalars, already weighted.
        """
        probability = logits.sigmoid()
        overlap = (probability * masks).sum(self.summed_dims)
        size = probability.square().sum(self.summed_dims) + masks.square().sum(self.summed_dims)
        dice = 1 - (2 * overlap + self.eps) / (size + self.eps)
        ce = F.binary_cross_entropy_with_logits(logits, masks, pos_weight=self.pos_weight)
        return {"loss_dice": self.dice_weight * dice.mean(), "loss_ce": self.ce_weight * ce}
