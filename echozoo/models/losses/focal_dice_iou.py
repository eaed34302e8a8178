"""Focal, Dice and quality losses together, as SAM and SAM-Med2D train with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.losses.base import only
from echozoo.registry import MODELS


@MODELS.register_module()
class FocalDiceIoULoss(nn.Module):
    r"""SAM-Med2D's loss (arXiv 2308.16184), over all labelled pixels of a batch together.

    Focal loss :math:`-\alpha (1 - p)^\gamma \log p` of foreground and
    :math:`-(1 - \alpha) p^\gamma \log(1 - p)` of background, their mean; Dice
    :math:`1 - (2 \sum pg + 1) / (\sum p + \sum g + 1)`; and the mean square of what the predicted
    quality of each mask differs by from the soft IoU of the batch. An absent structure counts in
    the pixels alone.

    Args:
        focal_weight: Weight of the focal loss.
        dice_weight: Weight of Dice.
        iou_weight: Weight of the quality.
        alpha: Weight of the foreground in the focal loss.
        gamma: How much less a pixel counts that is right already.
    """

    def __init__(
        self,
        focal_weight: float = 20.0,
        dice_weight: float = 1.0,
        iou_weight: float = 1.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        super().__init__()
        self.weights = focal_weight, dice_weight, iou_weight
        self.alpha, self.gamma = alpha, gamma

    def forward(
        self,
        logits: Tensor,
        masks: Tensor,
        labelled: Tensor | None = None,
        quality: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute all terms.

        Args:
            logits: (N, K, h, w).
            masks: References (N, K, h, w) in {0, 1}.
            labelled: (N, K) bool, which of them are there; None is all.
            quality: The predicted IoU of each mask (N, K); None leaves its term out.

        Returns:
            ``loss_focal``, ``loss_dice`` and, with a quality, ``loss_iou``, already weighted.
        """
        if labelled is None:
            labelled = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        focal_weight, dice_weight, iou_weight = self.weights
        count = labelled.sum().clamp(min=1)
        logits, masks = only(labelled, logits), only(labelled, masks)
        focal = only(labelled, self.of_pixels(logits, masks)).mean((-2, -1)).sum() / count
        p = only(labelled, logits.sigmoid())
        overlap, sizes = (p * masks).sum(), p.sum() + masks.sum()
        losses = {
            "loss_focal": focal_weight * focal,
            "loss_dice": dice_weight * (1 - (2 * overlap + 1) / (sizes + 1)),
        }
        if quality is not None:
            iou = overlap / (sizes - overlap + 1e-7)
            errors = torch.where(labelled, (iou - quality).square(), 0)
            losses["loss_iou"] = iou_weight * errors.sum() / count
        return losses

    def of_pixels(self, logits: Tensor, masks: Tensor) -> Tensor:
        """The focal loss of every pixel (N, K, h, w)."""
        p = logits.sigmoid()
        foreground = self.alpha * masks * (1 - p) ** self.gamma * F.logsigmoid(logits)
        background = (1 - self.alpha) * (1 - masks) * p**self.gamma * F.logsigmoid(-logits)
        return -(foreground + background)
