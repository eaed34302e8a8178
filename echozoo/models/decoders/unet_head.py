"""The upward half of a U-Net (arXiv 1505.04597) as a decode head of mmseg, for any backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.layers.norm import SyncBN
from echozoo.registry import MODELS


@MODELS.register_module()
class UNetHead(BaseDecodeHead):
    """Enlarge the last map to the size of the one before, join the two, convolve twice; repeat.

    The logits have the size of the backbone's first map.

    Args:
        in_channels: Channels of the backbone's maps, from the largest map to the smallest.
        widths: Channels after each step up, the first from the smallest map; one less than maps.
        dropout_ratio: Of the last map's channels in training.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, ...

    Raises:
        ConfigError: There is not one width less than maps.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (16, 24, 40, 112, 320),
        widths: Sequence[int] = (96, 64, 32, 24),
        dropout_ratio: float = 0.0,
        **kwargs,
    ) -> None:
        if len(widths) != len(in_channels) - 1:
            raise ConfigError(
                f"UNetHead: found {len(widths)} widths for {len(in_channels)} maps, wants "
                f"{len(in_channels) - 1}: one for each step from a map to the next larger one"
            )
        super().__init__(
            in_channels,
            widths[-1],
            dropout_ratio=dropout_ratio,
            in_index=tuple(range(len(in_channels))),
            input_transform="multiple_select",
            align_corners=False,
            **kwargs,
        )
        below = (in_channels[-1], *widths[:-1])
        joined = map(sum, zip(below, in_channels[-2::-1], strict=True))
        self.steps = nn.ModuleList(
            nn.Sequential(_convolution(inner, width), _convolution(width, width))
            for inner, width in zip(joined, widths, strict=True)
        )
        self.final = _convolution(self.channels, self.channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Decode a pyramid.

        Args:
            maps: (N, C, h, w) from the largest to the smallest, such as strides 2 to 32.

        Returns:
            Logits (N, num_classes, h, w) float32 of the size of the first map.
        """
        *skips, x = self._transform_inputs(maps)
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = step(torch.cat([x, skip], dim=1))
        # Under autocast too: softmax and Dice would follow in bf16 on a CPU.
        return self.cls_seg(self.final(x)).float()


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        SyncBN(out_channels),
        nn.ReLU(inplace=True),
    )
