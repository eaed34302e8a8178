"""The mask of AutoSAM's published code, which stretches every logit map to all of [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompts import Features
from echozoo.registry import MODELS


@MODELS.register_module()
class MinMaxMaskDecoder(SAMMaskDecoder):
    """SAM's mask decoder whose probabilities are its logits, stretched from least to largest.

    The largest pixel of a mask has the probability 1 and the least 0, whatever the image shows: an
    absent structure cannot be said, and the mask of one is never empty.

    Args:
        embed_dims: Channels of the embeddings.
        eps: Probabilities stay this far from 0 and 1, so that their logits are finite.
        **kwargs: See `SAMMaskDecoder`.
    """

    def __init__(self, embed_dims: int = 256, eps: float = 1e-6, **kwargs) -> None:
        super().__init__(embed_dims, **kwargs)
        self.eps = eps

    def forward(
        self,
        features: Features,
        dense_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask_output: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode as `SAMMaskDecoder` does, and stretch; a mask of one value is 0 everywhere."""
        masks, quality = super().forward(features, dense_pe, sparse, dense, multimask_output)
        masks = masks.float()  # half precision knows no probability next to 1
        low, high = (end(masks, (-2, -1), keepdim=True) for end in (torch.amin, torch.amax))
        probabilities = (masks - low) / (high - low).clamp(min=self.eps)
        return torch.logit(probabilities, self.eps), quality
