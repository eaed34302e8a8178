"""Dice and cross entropy of parts and of the wholes that they make up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from echozoo.models.layers.nesting import check_wholes
from echozoo.models.losses.dice_ce import DiceCELoss
from echozoo.registry import MODELS


@MODELS.register_module()
class PartWholeLoss(DiceCELoss):
    """`DiceCELoss` of K structures, and beside it of wholes: several structures as one.

    Structures of a whole do not overlap: the probability of the whole is the sum of theirs.

    Args:
        wholes: The structures of each whole, from 0.
        whole_weight: Of the wholes' terms.
        **kwargs: See `DiceCELoss`.
    """

    def __init__(
        self, wholes: Sequence[Sequence[int]] = ((0, 1),), whole_weight: float = 1.0, **kwargs
    ) -> None:
        super().__init__(**kwargs)
        self.wholes = check_wholes(wholes)
        self.whole_weight = whole_weight

    def forward(
        self, logits: Tensor, masks: Tensor, labelled: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Add ``loss_whole_dice`` and ``loss_whole_ce`` to the terms of `DiceCELoss`.

        A whole has a reference where all of its parts have one.

        Raises:
            ConfigError: There are fewer structures than the wholes have.
        """
        wholes = [list(parts) for parts in check_wholes(self.wholes, logits.shape[1])]
        if labelled is None:
            labelled = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        terms = super().forward(logits, masks, labelled)
        p = logits.sigmoid()
        sums, unions, known = (
            torch.stack([reduce(of[:, parts]) for parts in wholes], 1)
            for of, reduce in (
                (p, lambda one: one.sum(1).logit(1e-6)),
                (masks, lambda one: one.amax(1)),
                (labelled, lambda one: one.all(1)),
            )
        )
        of_wholes = super().forward(sums, unions, known)
        return terms | {
            name.replace("loss_", "loss_whole_"): self.whole_weight * value
            for name, value in of_wholes.items()
        }
