"""SAM's mask decoder for batches of images with several structures each."""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor

from echozoo.models.contracts import KeyMap
from echozoo.models.prompts import Features
from echozoo.registry import MODELS


@MODELS.register_module()
class SAMMaskDecoder(MaskDecoder):
    """SAM's mask decoder; its own serves one image a call.

    State-dict keys are those of SAM's ``mask_decoder``.

    Args:
        embed_dims: Channels of the embeddings; twice the heads divide them.
        num_multimask_outputs: Masks for an ambiguous prompt, beside the single one.
        transformer_depth: Two-way attention blocks.
        num_heads: Heads of each attention.
        mlp_dims: Hidden width of the blocks' MLPs.
        iou_head_depth: Layers of the head that predicts the masks' quality.
        iou_head_hidden: Hidden width of that head.
    """

    published = (KeyMap({r"mask_decoder\.": ""}, alone={"iou_token.weight": "mask_decoder."}),)
    transformer_type = TwoWayTransformer
    """What lets tokens and pixels attend to each other; other systems have their own."""

    def __init__(
        self,
        embed_dims: int = 256,
        num_multimask_outputs: int = 3,
        transformer_depth: int = 2,
        num_heads: int = 8,
        mlp_dims: int = 2048,
        iou_head_depth: int = 3,
        iou_head_hidden: int = 256,
    ) -> None:
        super().__init__(
            transformer_dim=embed_dims,
            transformer=self.transformer_type(transformer_depth, embed_dims, num_heads, mlp_dims),
            num_multimask_outputs=num_multimask_outputs,
            iou_head_depth=iou_head_depth,
            iou_head_hidden_dim=iou_head_hidden,
        )
        self.embed_dims = embed_dims

    def output_tokens(self) -> Tensor:
        """Return the tokens that every decoding starts with: quality and masks, (1 + masks, C)."""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight])

    def forward(
        self,
        features: Features,
        dense_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask_output: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode K structures of N images in one pass.

        Args:
            features: Their last map is (N, C, h, w), or one a structure (N, K, C, h, w).
            dense_pe: Positions (1, C, h, w).
            sparse: Sparse prompts (N, K, n, C); n may be 0.
            dense: Dense prompts (N, K, C, h, w).
            multimask_output: Whether to give the masks for an ambiguous prompt, M of them, in
                place of the single one (M = 1).

        Returns:
            Logits (N, K, M, 4h, 4w) and the quality that the decoder expects of each (N, K, M).
        """
        embedding = features.embedding
        if embedding.dim() == 4:
            embedding = embedding.unsqueeze(1)  # N, 1, C, h, w
        batch = dense.shape[:2]  # N, K
        outputs = self.output_tokens().expand(*batch, -1, -1)
        tokens = torch.cat([outputs, sparse], dim=2).flatten(0, 1)  # N * K, 1 + masks + n, C
        image = (embedding + dense).flatten(0, 1)  # N * K, C, h, w
        tokens, pixels = self.transformer(image, dense_pe, tokens)
        image = pixels.transpose(1, 2).reshape(image.shape)  # N * K, C, h, w
        chosen = range(1, self.num_mask_tokens) if multimask_output else range(1)
        masks = self._draw(self.output_upscaling(image), tokens[:, 1:], chosen)
        quality = self.iou_prediction_head(tokens[:, 0])[:, chosen.start : chosen.stop]
        return masks.unflatten(0, batch), quality.unflatten(0, batch)

    def _draw(self, image: Tensor, tokens: Tensor, chosen: range) -> Tensor:
        # Only the masks that are asked for.
        weights = [self.output_hypernetworks_mlps[i](tokens[:, i]) for i in chosen]
        return torch.einsum("bmc,bchw->bmhw", torch.stack(weights, 1), image)
