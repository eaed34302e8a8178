"""Dice and cross entropy, weighted as SAMUS and both documents have it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import MODELS


def soft_dice_loss(
    probabilities: Tensor, masks: Tensor, summed_dims: tuple[int, ...], eps: float
) -> Tensor:
    r"""Soft Dice loss in V-Net's squared form, one value for each index that is not summed over.

    :math:`1 - (2 \sum pg + \epsilon) / (\sum p^2 + \sum g^2 + \epsilon)`. For a structure that
    is absent it pushes the prediction towards nothing.

    Args:
        probabilities: p, (N, K, h, w) in [0, 1].
        masks: g, (N, K, h, w) in {0, 1}.
        summed_dims: The dimensions whose pixels make up one Dice.
        eps: Keeps the loss finite where both are empty.

    Returns:
        The loss over the remaining dimensions.
    """
    overlap = (probabilities * masks).sum(summed_dims)
    size = probabilities.square().sum(summed_dims) + masks.square().sum(summed_dims)
    return 1 - (2 * overlap + eps) / (size + eps)


def summed_dims(dice_over: str) -> tuple[int, ...]:
    """Name the dimensions of (N, K, h, w) whose pixels make up one Dice.

    Args:
        dice_over: ``"sample"`` for those of one mask, ``"batch"`` for those of one structure.

    Raises:
        ConfigError: It is neither.
    """
    if dice_over not in ("sample", "batch"):
        raise ConfigError(f"loss: dice_over={dice_over!r}; it is 'sample' or 'batch'")
    return (-2, -1) if dice_over == "sample" else (0, -2, -1)


@MODELS.register_module()
class DiceCELoss(nn.Module):
    """Weighted sum of a soft Dice loss and binary cross entropy of K masks.

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
        self.dice_weight = dice_weight
        self.ce_weight = ce_weight
        self.summed_dims = summed_dims(dice_over)
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
        dice = soft_dice_loss(logits.sigmoid(), masks, self.summed_dims, self.eps)
        ce = F.binary_cross_entropy_with_logits(logits, masks, pos_weight=self.pos_weight)
        return {"loss_dice": self.dice_weight * dice.mean(), "loss_ce": self.ce_weight * ce}
