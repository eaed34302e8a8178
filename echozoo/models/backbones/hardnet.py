"""HarDNet-85 (Chao et al., ICCV 2019): dense blocks whose layers skip by powers of two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echozoo.models.layers.norm import SyncBN
from echozoo.registry import MODELS

WIDENING = 1.7  # of a layer for each link beyond its first
# Blocks: growth, layers, channels of the 1 x 1 layer after it, whether the map is halved then.
BLOCKS = (
    (24, 8, 192, True),
    (24, 16, 256, False),
    (28, 16, 320, True),
    (36, 16, 480, False),
    (48, 16, 720, True),
    (256, 4, 1280, False),
)
STEM = (48, 96)  # channels of its two layers


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU6."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False
        )
        self.norm = SyncBN(out_channels)
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        return self.relu(self.norm(self.conv(x)))


class HarmonicBlock(nn.Module):
    """Layers that each see the layers 1, 2, 4, ... before them, if their number divides by that."""

    def __init__(self, in_channels: int, growth: int, depth: int) -> None:
        super().__init__()
        self.links = [_links(number) for number in range(1, depth + 1)]
        widths = [in_channels] + [_even(growth * WIDENING ** (len(e) - 1)) for e in self.links]
        self.layers = nn.ModuleList(
            ConvNorm(sum(widths[earlier] for earlier in links), width)
            for links, width in zip(self.links, widths[1:], strict=True)
        )
        self.kept = [number for number in range(1, depth + 1) if number % 2 or number == depth]
        self.out_channels = sum(widths[number] for number in self.kept)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W): the odd layers' maps and the last one's."""
        maps = [x]
        for links, layer in zip(self.links, self.layers, strict=True):
            maps.append(layer(torch.cat([maps[earlier] for earlier in links], 1)))
        return torch.cat([maps[number] for number in self.kept], 1)


@MODELS.register_module()
class HarDNet(nn.Module):
    """HarDNet-85, or its larger maps alone.

    Args:
        num_maps: Maps handed out, 1 to 5; stages after the last are not built.
        width: Factor of all channels, for small models from scratch.
    """

    sees = "frame"

    def __init__(self, num_maps: int = 5, width: float = 1.0) -> None:
        super().__init__()
        first, second = (_even(channels * width) for channels in STEM)
        self.base = nn.ModuleList(
            [ConvNorm(3, first, stride=2), ConvNorm(first, second), nn.MaxPool2d(3, 2, 1)]
        )
        self.handed_out, self.map_channels = [1], [second]  # places in `base`, channels
        channels = second
        for growth, depth, after, halves in BLOCKS:
            if len(self.handed_out) == num_maps:
                break
            block = HarmonicBlock(channels, _even(growth * width), depth)
            channels = _even(after * width)
            self.base.extend([block, ConvNorm(block.out_channels, channels, kernel=1)])
            if halves or (growth, depth, after, halves) == BLOCKS[-1]:
                self.handed_out.append(len(self.base) - 1)
                self.map_channels.append(channels)
            if halves and len(self.handed_out) < num_maps:
                self.base.append(nn.MaxPool2d(2, 2))
        self.out_channels, self.stride = channels, 2 ** len(self.handed_out)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: (N, 3, H, W), or (N, 1, H, W), which stands for three equal channels.

        Returns:
            Maps (N, C, H / s, W / s) for the strides s = 2, 4, 8, ...
        """
        x, maps = images.expand(-1, 3, -1, -1), []
        for place, part in enumerate(self.base):
            x = part(x)
            if place in self.handed_out:
                maps.append(x)
        return tuple(maps)


def _links(number: int) -> Sequence[int]:
    """Which layers the one of a number sees, the nearest first; 0 is the block's input."""
    return [number - 2**power for power in range(10) if number % 2**power == 0]


def _even(channels: float) -> int:
    return max(2, int(channels + 1) // 2 * 2)
