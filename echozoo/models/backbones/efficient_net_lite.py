"""EfficientNet-Lite: EfficientNet (arXiv 1905.11946) without squeeze-and-excitation, with ReLU6."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.norm import SyncBN
from echozoo.registry import MODELS


@dataclass(frozen=True)
class Stage:
    """A row of the network's table.

    Attributes:
        blocks: Number of blocks, before the arch's depth factor.
        kernel: Side of the depthwise kernels.
        stride: Of the first block.
        channels: Out, before the arch's width factor.
        expansion: Channels inside a block per channel in.
        keeps_depth: Whether the depth factor passes it by.
    """

    blocks: int
    kernel: int
    stride: int
    channels: int
    expansion: int = 6
    keeps_depth: bool = False


STEM_CHANNELS = 32
STAGES = (
    Stage(1, 3, 1, 16, expansion=1, keeps_depth=True),
    Stage(2, 3, 2, 24),
    Stage(2, 5, 2, 40),
    Stage(3, 3, 2, 80),
    Stage(3, 5, 1, 112),
    Stage(4, 5, 2, 192),
    Stage(1, 3, 1, 320, keeps_depth=True),
)
# Factors of width and of depth.
ARCHS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}


class SameConv2d(nn.Conv2d):
    """Convolution with the padding of the published networks, which the size of its input decides.

    A map becomes ``ceil(side / stride)``; where the padding is odd, right and bottom have more.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        return super().forward(F.pad(x, (*self._around(x.shape[-1]), *self._around(x.shape[-2]))))

    def _around(self, side: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((ceil(side / stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, if wanted, ReLU6; sides become ``ceil(side / stride)``.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel: Side of the kernel.
        stride: Of the convolution.
        groups: Of the convolution.
        activates: Whether ReLU6 follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activates: bool = True,
    ) -> None:
        super().__init__()
        # At stride 1 the padding is the same all around, and none of the input's size.
        kind, padding = (nn.Conv2d, kernel // 2) if stride == 1 else (SameConv2d, 0)
        self.conv = kind(
            in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False
        )
        self.norm = SyncBN(out_channels, eps=1e-3, momentum=0.01)
        if activates:
            self.relu = nn.ReLU6(inplace=True)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow (arXiv 1801.04381); a shortcut where shapes allow it.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        stage: The row of the table that it belongs to.
        stride: Of the depthwise convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = in_channels * stage.expansion
        self.expand = ConvNorm(in_channels, inner) if stage.expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(inner, inner, stage.kernel, stride, groups=inner)
        self.project = ConvNorm(inner, out_channels, activates=False)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


@MODELS.register_module()
class EfficientNetLite(nn.Module):
    """EfficientNet-Lite that hands out the last map of each size, strides 2, 4, 8, 16 and 32.

    With the published ImageNet weights images are scaled as ``(x - 127) / 128``, the grey image
    for all three channels.

    Args:
        arch: ``"lite0"``, ``"lite1"`` or ``"lite2"``.
        width: Factor of all channels, in place of the arch's: for small models from scratch.
    """

    published = (
        KeyMap(
            {
                r"_(conv_head|bn1|fc)\.": None,
                r"_conv_stem\.": "stem.conv.",
                r"_bn0\.": "stem.norm.",
                r"_blocks\.": "blocks.",
            },
            {
                "._expand_conv.": ".expand.conv.",
                "._bn0.": ".expand.norm.",
                "._depthwise_conv.": ".depthwise.conv.",
                "._bn1.": ".depthwise.norm.",
                "._project_conv.": ".project.conv.",
                "._bn2.": ".project.norm.",
            },
        ),
    )

    def __init__(self, arch: str = "lite0", width: float | None = None) -> None:
        super().__init__()
        if arch not in ARCHS:
            raise ConfigError(f"EfficientNetLite: found arch={arch!r}, wants {', '.join(ARCHS)}")
        arch_width, depth = ARCHS[arch]
        # The archs widen all but the stem; a width of one's own means the stem too.
        channels = STEM_CHANNELS if width is None else _rounded(STEM_CHANNELS * width)
        self.stem = ConvNorm(3, channels, kernel=3, stride=2)
        self.blocks = nn.ModuleList()
        self.last_of_size: list[int] = []  # blocks whose maps are handed out
        for stage in STAGES:
            out_channels = _rounded(stage.channels * (width or arch_width))
            if stage.stride > 1:
                self.last_of_size.append(len(self.blocks) - 1)
            for index in range(stage.blocks if stage.keeps_depth else ceil(stage.blocks * depth)):
                stride = stage.stride if index == 0 else 1
                self.blocks.append(InvertedResidual(channels, out_channels, stage, stride))
                channels = out_channels
        self.last_of_size.append(len(self.blocks) - 1)
        self.out_channels, self.stride = channels, 32

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: (N, 3, H, W).

        Returns:
            Five maps (N, C, H / s, W / s) for the strides s = 2, 4, 8, 16, 32, C of lite0 16, 24,
            40, 112, 320; sides that s does not divide are rounded up.
        """
        # Channels last: a third less time of a step on a CPU, depthwise kernels above all.
        x, maps = self.stem(images.contiguous(memory_format=torch.channels_last)), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.last_of_size:
                maps.append(x)
        return tuple(maps)


def _rounded(channels: float) -> int:
    """The multiple of 8 that is nearest, but at least nine tenths."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
