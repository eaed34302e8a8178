"""Soft Dice over structures for mmseg's decode heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.losses.base import DICE_OVER, soft_dice_loss
from echozoo.registry import MODELS


@MODELS.register_module()
class StructureDiceLoss(nn.Module):
    """Mean soft Dice loss over images and structures, the background left out.

    mmseg's own ``DiceLoss`` pools the pixels of all classes: the background outweighs the heart,
    and a small structure is learnt late or never. Here every structure counts alike.

    Args:
        loss_weight: Factor of the loss.
        eps: Keeps the loss finite where a structure is absent and not predicted.
        loss_name: Name in the log; must begin with ``loss_`` to be summed.
    """

    def __init__(
        self, loss_weight: float = 1.0, eps: float = 1e-5, loss_name: str = "loss_dice"
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.eps = eps
        self.loss_name = loss_name

    def forward(self, logits: Tensor, labels: Tensor, **_: object) -> Tensor:
        """The loss of logits (N, K + 1, H, W), background first, for labels (N, H, W), 0 to K."""
        masks = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:]  # (N, K, H, W)
        probabilities = logits.softmax(dim=1)[:, 1:]  # (N, K, H, W)
        labelled = torch.ones(masks.shape[:2], dtype=torch.bool, device=masks.device)
        loss = soft_dice_loss(
            probabilities, masks.to(logits.dtype), labelled, DICE_OVER["sample"], self.eps
        )
        return self.loss_weight * loss
