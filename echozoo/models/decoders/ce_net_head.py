"""CE-Net's decoder (arXiv 1903.02740) as a decode head of mmseg."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.layers.norm import SyncBN
from echozoo.registry import MODELS


class UpBlock(nn.Sequential):
    """Double a map: narrow to a quarter of the channels, enlarge, widen; norm, ReLU after each."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        inner = in_channels // 4
        enlarge = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1)
        super().__init__()
        self.narrow = _with_norm(nn.Conv2d(in_channels, inner, 1))
        self.enlarge = _with_norm(enlarge)
        self.widen = _with_norm(nn.Conv2d(inner, out_channels, 1))


@MODELS.register_module()
class CENetHead(BaseDecodeHead):
    """Double the last map four times and add the encoder's map of that size, then double once more.

    Args:
        in_channels: Channels of the four maps, from the largest map to the smallest.
        channels: Channels of the full-size map that the logits come from.
        dropout_ratio: Of its channels in training.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, ...
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 256, 516),
        channels: int = 32,
        dropout_ratio: float = 0.0,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            dropout_ratio=dropout_ratio,
            in_index=tuple(range(len(in_channels))),
            input_transform="multiple_select",
            **kwargs,
        )
        # The last block has no map of the encoder to fit, and keeps the channels.
        outputs = (*in_channels[-2::-1], in_channels[0])
        inputs = (in_channels[-1], *outputs[:-1])
        self.blocks = nn.ModuleList(map(UpBlock, inputs, outputs))
        self.final = nn.Sequential(
            nn.ConvTranspose2d(in_channels[0], channels, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Decode the maps of a ResNet.

        Args:
            maps: (N, C, H / 4, W / 4) to (N, C', H / 32, W / 32).

        Returns:
            Logits (N, num_classes, H, W).

        Raises:
            ConfigError: 32 does not divide the sides of the image.
        """
        *skips, x = self._transform_inputs(maps)
        for block, skip in zip(self.blocks[:-1], reversed(skips), strict=True):
            x = block(x)
            if x.shape[-2:] != skip.shape[-2:]:
                raise ConfigError(
                    f"CENetHead: found a map of {tuple(skip.shape[-2:])} pixels, wants "
                    f"{tuple(x.shape[-2:])}: give images whose height and width 32 divides"
                )
            x = x + skip
        return self.cls_seg(self.final(self.blocks[-1](x)))


def _with_norm(conv: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, SyncBN(conv.out_channels), nn.ReLU(inplace=True))
