"""SAM's mask decoder without prompts, a mask a class, as SAMed and MA-SAM have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.layers.norm import ChannelNorm
from echozoo.registry import MODELS


@MODELS.register_module()
class SAMSemanticHead(BaseDecodeHead):
    """Each of SAM's mask tokens is a class, the background the first; a softmax is over them.

    SAMed (arXiv 2304.13785), MA-SAM (2309.08842). There are no prompts: SAM's embedding of
    "no mask" is the dense one, and there is no sparse one.

    Args:
        in_channels: Channels of the image embedding.
        widths: Channels after each doubling of the embedding's size; None is SAM's two, a quarter
            and an eighth of ``in_channels``. MA-SAM has four, (64, 32, 16, 8), up to the input's
            size.
        transformer_depth: Two-way attention blocks.
        num_heads: Heads of each attention.
        mlp_dims: Hidden width of the blocks' MLPs.
        iou_head_hidden: Hidden width of the head that predicts the masks' quality.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, ...
    """

    published = (
        KeyMap(
            {
                r"(sam\.)?mask_decoder\.": "decoder.",
                r"(sam\.)?prompt_encoder\.(no_mask_embed|pe_layer)\.": r"\2.",
                r"(sam\.)?prompt_encoder\.": None,  # of points, boxes and masks
            }
        ),
    )

    def __init__(
        self,
        in_channels: int = 256,
        widths: Sequence[int] | None = None,
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
            num_multimask_outputs=self.num_classes - 1,
            iou_head_hidden_dim=iou_head_hidden,
        )
        if widths is not None:
            self.decoder.output_upscaling = _upscaling(in_channels, widths)
            self.decoder.output_hypernetworks_mlps = nn.ModuleList(
                MLP(in_channels, in_channels, widths[-1], 3) for _ in range(self.num_classes)
            )
        self.no_mask_embed = nn.Embedding(1, in_channels)
        self.pe_layer = PositionEmbeddingRandom(in_channels // 2)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Decode all classes.

        Args:
            maps: The last is the image embedding (N, C, h, w).

        Returns:
            Logits (N, num_classes, s * h, s * w); s is 4, or 2 to the number of ``widths``.
        """
        return self.decode(self._transform_inputs(maps))[0]

    def decode(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Decode an image embedding (N, C, h, w).

        Returns:
            Logits as of `forward`, and the quality that SAM's head predicts of each class's mask
            (N, num_classes), which nothing trains.
        """
        decoder, size = self.decoder, embedding.shape[-2:]
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = tokens.expand(len(embedding), -1, -1)  # N, 1 + classes, C
        image = embedding + self.no_mask_embed.weight[..., None, None]  # N, C, h, w
        # In half precision positions would be off.
        with torch.autocast(embedding.device.type, enabled=False):
            positions = self.pe_layer(size)[None]  # 1, C, h, w
        tokens, pixels = decoder.transformer(image, positions, tokens)
        image = decoder.output_upscaling(pixels.transpose(1, 2).reshape(image.shape))
        drawn = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        masks = torch.einsum("bmc,bchw->bmhw", torch.stack(drawn, 1), image)
        return masks, decoder.iou_prediction_head(tokens[:, 0])


def _upscaling(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Transposed convolutions that double the size, all but the last with a norm behind."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip((channels, *widths), widths, strict=False), 1):
        layers.append(nn.ConvTranspose2d(before, after, 2, stride=2))
        layers += [ChannelNorm(after)] if i < len(widths) else []
        layers.append(nn.GELU())
    return nn.Sequential(*layers)
