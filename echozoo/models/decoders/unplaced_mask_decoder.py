"""The mask decoder of AdaptiveSAM: SAM's without positions and without a dense prompt."""

from __future__ import annotations

import torch
from segment_anything.modeling import TwoWayTransformer
from torch import Tensor

from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompts import Features
from echozoo.registry import MODELS


class _Transformer(TwoWayTransformer):
    """SAM's, where neither pixels nor tokens say where they are but in the last attention."""

    def forward(
        self, image_embedding: Tensor, image_pe: Tensor, point_embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map (N, C, h, w) and tokens (N, n, C) to tokens (N, n, C) and pixels (N, h * w, C)."""
        keys = image_embedding.flatten(2).transpose(1, 2)  # N, h * w, C
        queries, nowhere = point_embedding, point_embedding.new_zeros(())
        for layer in self.layers:
            queries, keys = layer(queries, keys, nowhere, nowhere)
        found = self.final_attn_token_to_image(q=queries + point_embedding, k=keys, v=keys)
        return self.norm_final_attn(queries + found), keys


@MODELS.register_module()
class UnplacedMaskDecoder(SAMMaskDecoder):
    """`SAMMaskDecoder` as the published code of AdaptiveSAM has it; SAM's weights fit."""

    transformer_type = _Transformer

    def forward(
        self,
        features: Features,
        dense_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask_output: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode as `SAMMaskDecoder` does, from the image and the sparse prompts alone."""
        nothing = torch.zeros_like(dense)
        return super().forward(features, dense_pe, sparse, nothing, multimask_output)
