"""SAM's mask decoder without prompts, a mask a class, as SAMed and MA-SAM have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.decoders.sam_decode_head import SAMDecodeHead
from echozoo.models.layers.norm import ChannelNorm
from echozoo.registry import MODELS


@MODELS.register_module()
class SAMSemanticHead(SAMDecodeHead):
    """Each of SAM's mask tokens is a class, the background the first; a softmax is over them.

    SAMed (arXiv 2304.13785), MA-SAM (2309.08842). There are no prompts: SAM's embedding of
    "no mask" is the dense one, and there is no sparse one.

    Args:
        in_channels: Channels of the image embedding.
        widths: Channels after each doubling of the embedding's size; None is SAM's two, a quarter
            and an eighth of ``in_channels``. MA-SAM has four, (64, 32, 16, 8), up to the input's
            size.
        **kwargs: See `SAMDecodeHead`.
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
        self, in_channels: int = 256, widths: Sequence[int] | None = None, **kwargs
    ) -> None:
        super().__init__(in_channels, **kwargs)
        if widths is not None:
            self.decoder.output_upscaling = _upscaling(in_channels, widths)
            self.decoder.output_hypernetworks_mlps = nn.ModuleList(
                MLP(in_channels, in_channels, widths[-1], 3) for _ in range(self.num_classes)
            )
        self.no_mask_embed = nn.Embedding(1, in_channels)

    def decode(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Decode an image embedding (N, C, h, w).

        Returns:
            Logits (N, num_classes, s * h, s * w), where s is 4, or 2 to the number of ``widths``;
            and the quality that SAM's head predicts of each class's mask (N, num_classes), which
            nothing trains.
        """
        decoder = self.decoder
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = tokens.expand(len(embedding), -1, -1)  # N, 1 + classes, C
        image = embedding + self.no_mask_embed.weight[..., None, None]  # N, C, h, w
        tokens, pixels = decoder.transformer(image, self.positions(embedding), tokens)
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
