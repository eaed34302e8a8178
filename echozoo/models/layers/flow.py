"""Motion between the frames of a clip: its head, and what carries images along it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FlowHead(nn.Module):
    """From a map of every frame of a clip to where its pixels go in the next, and come from."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, 4, 3, padding=1)
        nn.init.normal_(self.conv.weight, std=1e-5)  # begins without motion
        nn.init.zeros_(self.conv.bias)

    def published_at(self, name: str, index: int) -> dict[str, str]:
        """What CLAS's files call its weights."""
        return {r"reg\.": "conv."}

    def forward(self, maps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Find the motion between neighbours.

        Args:
            maps: (B, T, C, h, w), T >= 2.
            size: (H, W) of what will be carried.

        Returns:
            Sampling grids (B, T - 1, H, W, 2), (x, y) in [-1, 1] from the first pixel's centre to
            the last's: where to look in frame t for what frame t + 1 shows, and the other way
            round.
        """
        flow = self.conv(maps.transpose(1, 2)).transpose(1, 2)[:, :-1]  # B, T - 1, 4, h, w
        flow = flow.float().flatten(0, 1)
        if flow.shape[-2:] != size:
            flow = F.interpolate(flow, size, mode="bilinear", align_corners=True)
        flow = flow.unflatten(0, (len(maps), -1)).permute(0, 1, 3, 4, 2)  # B, T - 1, H, W, 4
        y, x = (torch.linspace(-1, 1, side, device=flow.device) for side in size)
        identity = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # H, W, 2
        forward, backward = ((part + identity).clamp(-1, 1) for part in flow.split(2, -1))
        return forward, backward


def carried(images: Tensor, grids: Tensor) -> Tensor:
    """Carry images (N, C, H, W) along grids (N, H, W, 2); nothing comes from outside."""
    return F.grid_sample(images, grids, mode="bilinear", align_corners=True)
