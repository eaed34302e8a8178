"""CLAS's loss of labelled frames, for mmseg's decode heads."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.registry import MODELS


@MODELS.register_module()
class SquaredDiceCELoss(nn.Module):
    """Cross entropy, and Dice with squares below and nothing twice above (CLAS).

    Args:
        of_probabilities: The published code hands probabilities to a cross entropy that wants
            logits; True repeats that.
        loss_name: Name in the log; must begin with ``loss_`` to be summed.
    """

    def __init__(self, of_probabilities: bool = False, loss_name: str = "loss_sga") -> None:
        super().__init__()
        self.of_probabilities, self.loss_name = of_probabilities, loss_name

    def forward(self, logits: Tensor, labels: Tensor, **_: object) -> Tensor:
        """The loss of logits (N, K + 1, H, W), background first, for labels (N, H, W), 0 to K."""
        probabilities = logits.softmax(1)
        masks = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
        scores = probabilities if self.of_probabilities else logits
        return F.cross_entropy(scores, labels) + squared_dice_loss(probabilities, masks)


def squared_dice_loss(probabilities: Tensor, masks: Tensor) -> Tensor:
    r""":math:`1 - (\sum pg + 1) / (\sum p^2 + \sum g^2 + 1)`, half for a perfect mask.

    Args:
        probabilities: p, (N, C, H, W), the background among the C.
        masks: g, likewise.

    Returns:
        The mean over images and classes, a scalar.
    """
    pixels = (-2, -1)
    overlap = (probabilities * masks).sum(pixels)
    size = probabilities.square().sum(pixels) + masks.square().sum(pixels)
    return (1 - (overlap + 1) / (size + 1)).mean()
