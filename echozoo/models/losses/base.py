"""What losses of K masks share: Dice and a term a pixel, over what is labelled."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError

DICE_OVER = {"sample": (-2, -1), "batch": (0, -2, -1)}


def soft_dice_loss(
    probabilities: Tensor, masks: Tensor, labelled: Tensor, summed_dims: tuple[int, ...], eps: float
) -> Tensor:
    r"""Mean soft Dice loss in V-Net's squared form.

    :math:`1 - (2 \sum pg + \epsilon) / (\sum p^2 + \sum g^2 + \epsilon)`. For a structure that
    is absent it pushes the prediction towards nothing.

    Args:
        probabilities: p, (N, K, h, w) in [0, 1].
        masks: g, (N, K, h, w) in {0, 1}.
        labelled: (N, K) bool; the others' pixels count nowhere.
        summed_dims: The dimensions whose pixels make up one Dice.
        eps: Keeps the loss finite where both are empty.

    Returns:
        The mean over the remaining dimensions, a scalar.
    """
    probabilities, masks = (only(labelled, pixels) for pixels in (probabilities, masks))
    overlap = (probabilities * masks).sum(summed_dims)
    size = probabilities.square().sum(summed_dims) + masks.square().sum(summed_dims)
    counted = labelled.any(0) if 0 in summed_dims else labelled
    return labelled_mean(1 - (2 * overlap + eps) / (size + eps), counted)


def only(labelled: Tensor, pixels: Tensor) -> Tensor:
    """Put 0 where a pair (N, K) is not labelled: not even NaN there (N, K, h, w) goes on."""
    return torch.where(labelled[..., None, None], pixels, 0)


def labelled_mean(values: Tensor, labelled: Tensor) -> Tensor:
    """Mean of the values (...) that are labelled (...); 0 where none is."""
    return torch.where(labelled, values, 0).sum() / labelled.sum().clamp(min=1)


class DiceAndPixelLoss(nn.Module):
    """Weighted sum of a soft Dice loss and a loss of every pixel of K masks.

    Args:
        dice_weight: Weight of Dice.
        pixel_weight: Weight of the pixels' loss.
        dice_over: ``"sample"`` sums over the pixels of one mask and averages over masks, so that a
            small structure counts as much as a large one and the loss does not depend on how a
            batch is divided between processes; ``"batch"`` sums over the whole batch for each
            structure, as the published SAMUS does.
        eps: Keeps Dice finite where both masks are empty.

    Raises:
        ConfigError: ``dice_over`` is none of the two.
    """

    pixel_name: str
    """Name of the pixels' loss in the log."""

    def __init__(
        self,
        dice_weight: float,
        pixel_weight: float,
        dice_over: Literal["sample", "batch"],
        eps: float,
    ) -> None:
        super().__init__()
        if dice_over not in DICE_OVER:
            raise ConfigError(f"loss: dice_over={dice_over!r}; it is 'sample' or 'batch'")
        self.dice_weight = dice_weight
        self.pixel_weight = pixel_weight
        self.summed_dims = DICE_OVER[dice_over]
        self.eps = eps

    def forward(
        self, logits: Tensor, masks: Tensor, labelled: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute both terms.

        Args:
            logits: Predicted logits (N, K, h, w).
            masks: Reference masks (N, K, h, w) in {0, 1}, of the logits' dtype.
            labelled: (N, K) bool, which pairs of image and structure have a reference; None is
                all. The others count nowhere, whatever their masks hold.

        Returns:
            ``loss_dice`` and the pixels' loss by its name, scalars, already weighted.
        """
        if labelled is None:
            labelled = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        logits, masks = only(labelled, logits), only(labelled, masks)
        dice = soft_dice_loss(logits.sigmoid(), masks, labelled, self.summed_dims, self.eps)
        pixels = labelled_mean(self.of_masks(self.of_pixels(logits, masks)), labelled)
        return {
            "loss_dice": self.dice_weight * dice,
            self.pixel_name: self.pixel_weight * pixels,
        }

    def of_masks(self, pixels: Tensor) -> Tensor:
        """The loss (N, K) of each mask from that of its pixels (N, K, h, w): their mean."""
        return pixels.mean((-2, -1))

    @abstractmethod
    def of_pixels(self, logits: Tensor, masks: Tensor) -> Tensor:
        """The loss of every pixel (N, K, h, w) of logits and masks (N, K, h, w)."""
