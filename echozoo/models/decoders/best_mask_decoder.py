"""SAM's decoder for an ambiguous prompt: of its three masks, the one it expects most of."""

from __future__ import annotations

from torch import Tensor

from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompts import Features
from echozoo.registry import MODELS


@MODELS.register_module()
class BestMaskDecoder(SAMMaskDecoder):
    """`SAMMaskDecoder` that chooses among its masks for an ambiguous prompt, by their quality.

    SAM-Med2D does so in training too.
    """

    def forward(
        self,
        features: Features,
        dense_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask_output: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode as `SAMMaskDecoder` does.

        Returns:
            The best mask's logits (N, K, 1, 4h, 4w) and quality (N, K, 1), or with
            ``multimask_output`` those of all masks.
        """
        masks, quality = super().forward(features, dense_pe, sparse, dense, True)
        if multimask_output:
            return masks, quality
        best = quality.argmax(2, keepdim=True)  # N, K, 1
        size = masks.shape[-2:]
        return masks.gather(2, best[..., None, None].expand(-1, -1, -1, *size)), quality.gather(
            2, best
        )
