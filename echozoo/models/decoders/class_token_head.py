"""AutoSAM's class tokens (arXiv 2306.13731): SAM's decoder, asked for classes without prompts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.decoders.sam_decode_head import SAMDecodeHead
from echozoo.registry import MODELS

MASKS = 2  # mask tokens of a class; the first's mask is drawn, the second is only attended to


@MODELS.register_module()
class ClassTokenHead(SAMDecodeHead):
    """Each class, the background too, has tokens of its own, decoded on its own copy of the image.

    There are no prompts, and no embedding of their absence. Positions are encoded by a random
    matrix of the head's own, as in the published code, which does not load SAM's.

    Args:
        in_channels: Channels of the image embedding.
        **kwargs: See `SAMDecodeHead`.
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

    num_masks = MASKS

    def __init__(self, in_channels: int = 256, **kwargs) -> None:
        super().__init__(in_channels, **kwargs)
        self.decoder.iou_token = nn.Embedding(self.num_classes, in_channels)
        self.decoder.mask_tokens = nn.Embedding(MASKS * self.num_classes, in_channels)
        del self.decoder.output_hypernetworks_mlps[1:]

    def decode(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Decode an image embedding (N, C, h, w).

        Returns:
            Logits (N, num_classes, 4h, 4w), and the quality (N, num_classes) that the published
            code predicts of each, whose tokens and layers it never trains.
        """
        frames = len(embedding)
        mask_tokens = self.decoder.mask_tokens.weight.unflatten(0, (-1, MASKS))
        tokens = torch.cat([self.decoder.iou_token.weight[:, None], mask_tokens], 1)  # K, 3, C
        tokens = tokens.repeat(frames, 1, 1)  # N * K, 3, C, the classes of an image together
        image = embedding.repeat_interleave(self.num_classes, 0)  # N * K, C, h, w
        tokens, pixels = self.decoder.transformer(image, self.positions(embedding), tokens)
        image = self.decoder.output_upscaling(pixels.transpose(1, 2).reshape(image.shape))
        weights = self.decoder.output_hypernetworks_mlps[0](tokens[:, 1])  # N * K, C'
        masks = torch.einsum("bc,bchw->bhw", weights, image).unflatten(0, (frames, -1))
        quality = self.decoder.iou_prediction_head(tokens[:, 0])[:, 0]
        return masks, quality.unflatten(0, (frames, -1))
