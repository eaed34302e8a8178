"""nnSAM's encoder (arXiv 2309.16967): nnU-Net's, and beside it MobileSAM's, joined at 1/8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.backbones.plain_conv_encoder import PlainConvEncoder
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.plain_conv import initialise_he
from echozoo.registry import MODELS

JOINED = 3  # the map at 1/8 of the image


@MODELS.register_module()
class NNSAMEncoder(PlainConvEncoder):
    """nnU-Net's encoder whose map at 1/8 has SAM's embedding of the enlarged image beside it.

    All convolutions are drawn as nnU-Net draws them, SAM's too. Published weights replace SAM's;
    the published code draws them anew after that (see configs/nnsam.py).

    Args:
        in_channels: Channels of the images.
        widths: Channels of nnU-Net's stages, at least five.
        sam: SAM's image encoder, a config: (N, 3, H, W) to a map.
        sam_size: Height and width of the image that SAM's encoder sees.

    Raises:
        ConfigError: Less than five stages.
    """

    published = (
        *PlainConvEncoder.published,
        KeyMap(
            {
                r"sam_image_encoder\.(norm_)?head\.": None,  # an ImageNet classifier, unused
                r"image_encoder\.(norm_)?head\.": None,
                r"(sam_)?image_encoder\.": "sam.",  # of nnSAM's files, and of MobileSAM's
            },
            holds=r"sam\..+",
            name="MobileSAM",
        ),
    )

    def __init__(
        self,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512, 512),
        sam: dict | None = None,
        sam_size: int = 1024,
    ) -> None:
        if len(widths) < JOINED + 2:
            raise ConfigError(
                f"NNSAMEncoder: found {len(widths)} widths, wants {JOINED + 2} or more, as SAM's "
                "features join the map at 1/8, which a smaller one follows"
            )
        super().__init__(in_channels, widths)
        self.sam: nn.Module = MODELS.build(sam or dict(type="TinyViT", stem_stride=4))
        self.sam_size = sam_size
        initialise_he(self.sam)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: (N, C, H, W), C = 1 or 3, scaled as for nnU-Net.

        Returns:
            Maps as of `PlainConvEncoder`; the one at 1/8 has SAM's channels behind its own.
        """
        maps = list(super().forward(images))
        embedding = self.embed(images)
        joined = maps[JOINED]
        maps[JOINED] = torch.cat([joined, _resized(embedding, joined.shape[-2:])], 1)
        return tuple(maps)

    def embed(self, images: Tensor) -> Tensor:
        """SAM's embedding of images (N, C, H, W): (N, E, h, w) at SAM's own size."""
        return self.sam(_resized(images.expand(-1, 3, -1, -1), (self.sam_size, self.sam_size)))


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)
