"""TempAtt: the temporal attention that tra.txt compares TRA with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import TEMPORAL_MODULES


@TEMPORAL_MODULES.register_module()
class TempAtt(nn.Module):
    """Temporal attention: each position attends to itself in all frames of its clip.

    The temporal half of TimeSformer's divided attention (arXiv 2102.05095):
    ``x + fc(attention(norm(x) + table))``. TimeSformer adds one table of time positions to the
    input of the network; here each module has its own, inside of the branch. The table and the
    last layer start at zero, so that the module starts as identity. A single frame (T = 1)
    attends to itself alone.

    Args:
        embed_dims: Channels of the features.
        num_heads: Heads of the attention; they divide the channels.
        time_positions: Frames that the table of time positions is for; at another T the nearest
            rows are taken. 0 has no table: the order of the frames does not matter then.

    Raises:
        ConfigError: The heads do not divide the channels.
    """

    def __init__(self, embed_dims: int, num_heads: int = 12, time_positions: int = 8) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ConfigError(
                f"TempAtt: found num_heads={num_heads}, wants a divisor of embed_dims={embed_dims}"
            )
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        table = nn.Parameter(torch.zeros(time_positions, embed_dims)) if time_positions else None
        self.register_parameter("time_table", table)
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.fc = nn.Linear(embed_dims, embed_dims)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Let the frames of each clip exchange features (B * T, H, W, C)."""
        _, height, width, channels = x.shape
        tokens = self.norm(x).reshape(-1, num_frames, height * width, channels)  # B, T, H * W, C
        if self.time_table is not None:
            tokens = tokens + self._time_positions(num_frames)
        qkv = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))  # B, T, H * W, 3, heads, d
        q, k, v = qkv.permute(3, 0, 2, 4, 1, 5).flatten(1, 2).unbind(0)  # B * H * W, heads, T, d
        out = F.scaled_dot_product_attention(q, k, v)  # B * H * W, heads, T, d
        out = out.unflatten(0, (-1, height * width)).permute(0, 3, 1, 2, 4)  # B, T, H * W, heads, d
        return x + self.fc(self.proj(out.reshape(x.shape)))  # B * T, H, W, C

    def _time_positions(self, num_frames: int) -> Tensor:
        rows = self.time_table.T[None]  # (T', C) -> (1, C, T')
        return F.interpolate(rows, num_frames, mode="nearest")[0].T[:, None]  # T, 1, C
