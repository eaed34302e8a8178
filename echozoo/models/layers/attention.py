"""Attention over token grids: SAM's with decomposed relative positions, and cross attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import (
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor, nn

from echozoo.models.layers.relative_attention import relative_attention


class GridAttention(nn.Module):
    """Self-attention over a grid of tokens or over windows of it, as in SAM's image encoder.

    Parameter names and values are SAM's. At another grid size than the nominal one the tables of
    decomposed relative positions are interpolated linearly, as SAM does.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads; they divide the channels.
        grid_size: Nominal height and width of the (square) grid, in tokens.
        window_size: Height and width of a window in tokens; 0 attends over the whole grid.
        use_rel_pos: Whether there are relative positions.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        grid_size: int,
        window_size: int = 0,
        use_rel_pos: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.use_rel_pos = use_rel_pos
        if use_rel_pos:
            table = (2 * (window_size or grid_size) - 1, embed_dims // num_heads)
            self.rel_pos_h = nn.Parameter(torch.zeros(table))
            self.rel_pos_w = nn.Parameter(torch.zeros(table))

    def forward(self, x: Tensor) -> Tensor:
        """Let every token look at every other of its grid, or of its window.

        Args:
            x: Tokens (B, H, W, C).

        Returns:
            (B, H, W, C).
        """
        qkv, size = self.qkv(x), x.shape[1:3]
        if not self.window_size:
            return self.proj(self._attend(qkv))
        windows, padded = window_partition(self._fill(qkv), self.window_size)
        attended = self._attend(windows)
        return self.proj(window_unpartition(attended, self.window_size, padded, size))

    def _fill(self, qkv: Tensor) -> Tensor:
        """Fill the last windows of queries, keys and values (B, H, W, 3 * C).

        SAM fills them with tokens of zeros, which take part in the attention. They are all the
        same: one token's worth of the projection.
        """
        batch, height, width, _ = qkv.shape
        below, right = -height % self.window_size, -width % self.window_size
        if not below and not right:
            return qkv
        filling = self.qkv(qkv.new_zeros(1, 1, 1, self.qkv.in_features))
        qkv = torch.cat([qkv, filling.expand(batch, height, right, -1)], 2)
        return torch.cat([qkv, filling.expand(batch, below, width + right, -1)], 1)

    def _attend(self, qkv: Tensor) -> Tensor:
        """Attend over grids whose tokens (B, H, W, 3 * C) are queries, keys and values."""
        batch, height, width, _ = qkv.shape
        qkv = qkv.view(batch, height * width, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # B, heads, H * W, d
        if self.use_rel_pos:
            grid = q.unflatten(2, (height, width))  # B, heads, H, W, d
            table_h = get_rel_pos(height, height, self.rel_pos_h)
            table_w = get_rel_pos(width, width, self.rel_pos_w)
            row_bias = torch.einsum("bnhwd,hkd->bnhwk", grid, table_h).flatten(2, 3)
            col_bias = torch.einsum("bnhwd,wkd->bnhwk", grid, table_w).flatten(2, 3)
            out = relative_attention(q, k, v, row_bias, col_bias)
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).reshape(batch, height, width, -1)


class CrossAttention(nn.Module):
    """Multi-head attention from one grid of tokens to another, without positions.

    Args:
        embed_dims: Channels of a token of both grids.
        num_heads: Heads; they divide the channels.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(embed_dims, embed_dims)
        self.k = nn.Linear(embed_dims, embed_dims)
        self.v = nn.Linear(embed_dims, embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Let each token of ``x`` gather from all tokens of ``source``.

        Args:
            x: Tokens (B, H, W, C) that ask.
            source: Tokens (B, H', W', C) that answer.

        Returns:
            (B, H, W, C).
        """
        q = self._heads(self.q(x))
        k = self._heads(self.k(source))
        v = self._heads(self.v(source))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(x.shape))  # B, H, W, C

    def _heads(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        heads = x.reshape(batch, height * width, self.num_heads, -1)
        return heads.transpose(1, 2)  # B, heads, H * W, d
