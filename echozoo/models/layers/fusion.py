"""Blocks that memories and their mask decoders are made of (STM, STCN, XMem)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PreActBlock(nn.Module):
    """Residual block without norms, activated before its convolutions and not after the sum.

    Args:
        in_channels: Channels in.
        channels: Channels out; where they differ, a third convolution is the shortcut.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        same = in_channels == channels
        self.downsample = None if same else nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C', h, w)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return shortcut + self.conv2(F.relu(self.conv1(F.relu(x))))


class CBAM(nn.Module):
    """Gates of channels, then of positions (arXiv 1807.06521).

    Args:
        channels: Channels in and out.
        reduction: Hidden channels of the first gate are this many times fewer.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.channel_gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.spatial_gate = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same, each channel and position weakened."""
        pooled = self.channel_gate(x.mean((-2, -1))) + self.channel_gate(x.amax((-2, -1)))
        x = x * pooled.sigmoid()[..., None, None]
        summary = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)  # N, 2, h, w
        return x * self.spatial_gate(summary).sigmoid()


class FusionBlock(nn.Module):
    """Features of an image and of each of its structures, made one.

    Args:
        in_channels: Channels of both together.
        channels: Channels out.
        hidden: Channels between the two blocks; None: as many as out.
    """

    def __init__(self, in_channels: int, channels: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or channels
        self.block1 = PreActBlock(in_channels, hidden)
        self.attention = CBAM(hidden)
        self.block2 = PreActBlock(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Fuse (N, C, h, w), both concatenated, to (N, C', h, w)."""
        x = self.block1(x)
        return self.block2(x + self.attention(x))


class SensoryUpdate(nn.Module):
    """XMem's recurrent unit; unlike a GRU's, its candidate sees the state before it is reset."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(in_channels + channels, 3 * channels, 3, padding=1)
        nn.init.xavier_normal_(self.transform.weight)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Take x (..., C, h, w) into the state (..., C', h, w)."""
        both = torch.cat([x, state], -3)
        forget, update, new = self.transform(both.flatten(0, -4)).chunk(3, 1)
        kept, update = forget.sigmoid().view_as(state), update.sigmoid().view_as(state)
        return kept * state * (1 - update) + update * new.tanh().view_as(state)


def with_structures(image: Tensor, *maps: Tensor) -> Tensor:
    """Put an image's map before those of its structures.

    Args:
        image: (N, C, h, w).
        maps: Each (N, K, C', h, w).

    Returns:
        (N * K, C + C' + ..., h, w).
    """
    repeated = image.unsqueeze(1).expand(-1, maps[0].shape[1], -1, -1, -1)
    return torch.cat([repeated, *maps], 2).flatten(0, 1)
