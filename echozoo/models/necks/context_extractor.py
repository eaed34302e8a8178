"""CE-Net's context extractor (arXiv 1903.02740): wider sight, then summaries of the whole map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import MODELS

STRIDE = 32  # of the last map of a ResNet


class DACBlock(nn.Module):
    r"""Dense atrous convolution: four branches of growing field of view, added to the input.

    :math:`y = x + r(Ax) + r(PBx) + r(PBAx) + r(PCBAx)`, r the ReLU; A, B and C are 3 x 3
    convolutions of dilation 1, 3 and 5, P a 1 x 1 convolution. The branches share them. Biases
    begin at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near, self.middle, self.far = (
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
            for dilation in (1, 3, 5)
        )
        self.project = nn.Conv2d(channels, channels, 1)
        for conv in self.children():
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to the same shape."""
        near = self.near(x)
        middle = self.middle(near)
        branches = (
            near,
            self.project(self.middle(x)),
            self.project(middle),
            self.project(self.far(middle)),
        )
        return x + sum(F.relu(branch) for branch in branches)


class RMPBlock(nn.Module):
    """Residual multi-kernel pooling: the map's maxima on several coarse grids, beside the map.

    One 1 x 1 convolution, the same for all grids, makes one channel of each; it is enlarged to
    the map's size bilinearly.

    Args:
        channels: Channels in; the pools' come on top.
        pool_sizes: Side of the cells of each grid, which is also their stride.
    """

    def __init__(self, channels: int, pool_sizes: Sequence[int] = (2, 3, 5, 6)) -> None:
        super().__init__()
        self.pool_sizes = tuple(pool_sizes)
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, pools + C, h, w), the pools first.

        Raises:
            ConfigError: The map is smaller than the largest cell.
        """
        size, largest = x.shape[-2:], max(self.pool_sizes)
        if min(size) < largest:
            raise ConfigError(
                f"RMPBlock: found a map of {size[0]} x {size[1]}, wants {largest} x {largest} or "
                f"more for pool_sizes {self.pool_sizes}: give images of {STRIDE * largest} px or "
                "more, or smaller pool_sizes"
            )
        pooled = (self.conv(F.max_pool2d(x, cell)) for cell in self.pool_sizes)
        wide = [F.interpolate(p, size=size, mode="bilinear", align_corners=False) for p in pooled]
        return torch.cat([*wide, x], dim=1)


@MODELS.register_module()
class ContextExtractor(nn.Module):
    """The context extractor as a neck: acts on the last of the backbone's maps.

    Args:
        in_channels: Channels of that map.
        pool_sizes: Cells of the pooling; the largest may not exceed the map, which is 1/32 of the
            image: 192 pixels or more for the default. The last map has as many channels more.
    """

    def __init__(self, in_channels: int = 512, pool_sizes: Sequence[int] = (2, 3, 5, 6)) -> None:
        super().__init__()
        self.dac = DACBlock(in_channels)
        self.rmp = RMPBlock(in_channels, pool_sizes)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Widen the last map.

        Args:
            maps: The backbone's, the last (N, C, h, w).

        Returns:
            The same maps, the last (N, pools + C, h, w).

        Raises:
            ConfigError: The last map is smaller than the largest cell of the pooling.
        """
        *others, last = maps
        return *others, self.rmp(self.dac(last))
