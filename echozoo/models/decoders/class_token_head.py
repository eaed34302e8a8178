"""AutoSAM's class tokens (arXiv 2306.13731): SAM's decoder, asked for classes without prompts."""

from __future__ import annotations

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.registry import MODELS

MASKS = 2  # mask tokens of a class; the first's mask is drawn, the second is only attended to


@MODELS.register_module()
class ClassTokenHead(BaseDecodeHead):
    """Each class, the background too, has tokens of its own, decoded on its own copy of the image.

    There are no prompts, and no embedding of their absence. Positions are encoded by a random
    matrix of the head's own, as in the published code, which does not load SAM's.

    Args:
        in_channels: Channels of the image embedding.
        transformer_depth: Two-way attention blocks.
        num_heads: Heads of each attention.
        mlp_dims: Hidden width of the blocks' MLPs.
        iou_head_hidden: Hidden width of the head that predicts the masks' quality.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, ...
    """

    published = (
        KeyMap(
            {
                r"mask_decoder\.output_hypernetworks_mlps\.1\.": None,  # of the second mask
                r"mask_decoder\.": "decoder.",
                r"pe_layer\.": "pe_layer.",
            }
        ),
    )

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
            num_multimask_outputs=MASKS - 1,
            iou_head_hidden_dim=iou_head_hidden,
        )
        self.decoder.iou_token = nn.Embedding(self.num_classes, in_channels)
        self.decoder.mask_tokens = nn.Embedding(MASKS * self.num_classes, in_channels)
        del self.decoder.output_hypernetworks_mlps[1:]
        self.pe_layer = PositionEmbeddingRandom(in_channels // 2)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Decode all classes.

        Args:
            maps: The last is the image embedding (N, C, h, w).

        Returns:
            Logits (N, num_classes, 4h, 4w).
        """
        return self.decode(self._transform_inputs(maps))[0]

    def decode(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Decode an image embedding (N, C, h, w).

        Returns:
            Logits (N, num_classes, 4h, 4w), and the quality (N, num_classes) that the published
            code predicts of each, whose tokens and layers it never trains.
        """
        frames, size = len(embedding), embedding.shape[-2:]
        mask_tokens = self.decoder.mask_tokens.weight.unflatten(0, (-1, MASKS))
        tokens = torch.cat([self.decoder.iou_token.weight[:, None], mask_tokens], 1)  # K, 3, C
        tokens = tokens.repeat(frames, 1, 1)  # N * K, 3, C, the classes of an image together
        image = embedding.repeat_interleave(self.num_classes, 0)  # N * K, C, h, w
        # In half precision positions would be off.
        with torch.autocast(embedding.device.type, enabled=False):
            positions = self.pe_layer(size)[None]  # 1, C, h, w
        tokens, pixels = self.decoder.transformer(image, positions, tokens)
        image = self.decoder.output_upscaling(pixels.transpose(1, 2).reshape(image.shape))
        weights = self.decoder.output_hypernetworks_mlps[0](tokens[:, 1])  # N * K, C'
        masks = torch.einsum("bc,bchw->bhw", weights, image).unflatten(0, (frames, -1))
        quality = self.decoder.iou_prediction_head(tokens[:, 0])[:, 0]
        return masks, quality.unflatten(0, (frames, -1))
