"""SAM's mask decoder as a decode head of mmseg: every pixel is of one class, without prompts."""

from __future__ import annotations

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor


class SAMDecodeHead(BaseDecodeHead):
    """What heads that ask SAM's decoder for classes share; subclasses have ``decode``.

    Args:
        in_channels: Channels of the image embedding.
        transformer_depth: Two-way attention blocks.
        num_heads: Heads of each attention.
        mlp_dims: Hidden width of the blocks' MLPs.
        iou_head_hidden: Hidden width of the head that predicts the masks' quality.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, ...
    """

    num_masks: int | None = None
    """Mask tokens of SAM's decoder; None is one a class."""

    def __init__(
        self,
        in_channels: int = 256,
        transformer_depth: int = 2,
        num_heads: int = 8,
        mlp_dims: int = 2048,
        iou_head_hidden: int = 256,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels,
            in_channels,
            dropout_ratio=0.0,
            align_corners=False,
            init_cfg=None,
            **kwargs,
        )
        del self.conv_seg  # the hypernetworks are in its place
        self.decoder = MaskDecoder(
            transformer_dim=in_channels,
            transformer=TwoWayTransformer(transformer_depth, in_channels, num_heads, mlp_dims),
            num_multimask_outputs=(self.num_masks or self.num_classes) - 1,
            iou_head_hidden_dim=iou_head_hidden,
        )
        self.pe_layer = PositionEmbeddingRandom(in_channels // 2)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Decode all classes.

        Args:
            maps: The last is the image embedding (N, C, h, w).

        Returns:
            Logits (N, num_classes, s * h, s * w), s times as large as the embedding: 4 as in SAM.
        """
        return self.decode(self._transform_inputs(maps))[0]

    def decode(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of an image embedding (N, C, h, w), and the quality (N, num_classes)."""
        raise NotImplementedError

    def positions(self, embedding: Tensor) -> Tensor:
        """Where the places of an embedding (N, C, h, w) are: (1, C, h, w)."""
        # In half precision positions would be off.
        with torch.autocast(embedding.device.type, enabled=False):
            return self.pe_layer(embedding.shape[-2:])[None]
