"""MASAM3DAdapter: the 3-D adapter of MA-SAM (arXiv 2309.08842)."""

from __future__ import annotations

import re

from torch import Tensor, nn

from echozoo.registry import TEMPORAL_MODULES


@TEMPORAL_MODULES.register_module()
class MASAM3DAdapter(nn.Module):
    """``x + up(GELU(conv(down(norm(x)))))``; the convolution is along time and over all channels.

    A clip's frames have zeros before and after them, a single frame (T = 1) too: then the middle
    of the convolution acts alone. It does not start as identity, as published.

    Args:
        embed_dims: Channels of the features.
        bottleneck: Channels of the convolution; None is half of ``embed_dims``: 384 for ViT-B.
        kernel_size: Frames of the convolution, odd.
    """

    def __init__(
        self, embed_dims: int, bottleneck: int | None = None, kernel_size: int = 3
    ) -> None:
        super().__init__()
        hidden = bottleneck or embed_dims // 2
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.linear_down = nn.Linear(embed_dims, hidden, bias=False)
        around = (kernel_size // 2, 0, 0)
        self.conv = nn.Conv3d(hidden, hidden, (kernel_size, 1, 1), padding=around)
        self.act = nn.GELU()
        self.linear_up = nn.Linear(hidden, embed_dims, bias=False)

    def published_as(self, place: str) -> dict[str, str]:
        """MA-SAM's keys: each block has one before its attention, and a second before its MLP."""
        block, _, when = place.rpartition(".")
        second = "_2" if when == "before_mlp" else ""
        return {rf"{re.escape(block)}\.adapter_(norm|linear_down|conv|linear_up){second}\.": r"\1."}

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Let neighbouring frames of each clip exchange features (B * T, H, W, C)."""
        low = self.linear_down(self.norm(x))  # B * T, H, W, C'
        clips = low.unflatten(0, (-1, num_frames)).permute(0, 4, 1, 2, 3)  # B, C', T, H, W
        mixed = self.conv(clips).permute(0, 2, 3, 4, 1).flatten(0, 1)  # B * T, H, W, C'
        return x + self.linear_up(self.act(mixed))
