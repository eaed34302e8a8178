"""Attention over token grids: SAM's with decomposed relative positions, and cross attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor, nn

from echozoo.models.layers.relative_attention import filled_attention, relative_attention


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

    def forward(self, x: Tensor, filling: Tensor | None = None) -> Tensor:
        """Let every token look at every other of its grid, or of its window.

        Args:
            x: Tokens (B, H, W, C).
            filling: The token (C,) that fills up the last windows; None is SAM's, zeros.

        Returns:
            (B, H, W, C).
        """
        qkv, size = self.qkv(x), x.shape[1:3]
        if not self.window_size or not any(side % self.window_size for side in size):
            window = [self.window_size] * 2 if self.window_size else size
            return self.proj(self._attend(qkv, window))
        # The last windows have fewer rows or columns of tokens: they go by themselves. What fills
        # them up takes part in the attention.
        token = x.new_zeros(1, x.shape[-1]) if filling is None else filling[None]
        filling = self.qkv(token)
        strips = [
            torch.cat(
                [self._attend(part, self._window(part), filling) for part in self._cut(strip, 2)], 2
            )
            for strip in self._cut(qkv, 1)
        ]
        return self.proj(torch.cat(strips, 1))

    def _cut(self, qkv: Tensor, dim: int) -> tuple[Tensor, ...]:
        """Cut off what does not fill a window."""
        left = qkv.shape[dim] % self.window_size
        sizes = [size for size in (qkv.shape[dim] - left, left) if size]
        return qkv.split(sizes, dim)

    def _window(self, qkv: Tensor) -> list[int]:
        return [min(side, self.window_size) for side in qkv.shape[1:3]]

    def _attend(self, qkv: Tensor, window: Sequence[int], filling: Tensor | None = None) -> Tensor:
        """Attend within windows.

        Args:
            qkv: Queries, keys and values (B, H, W, 3 * C).
            window: Height and width of a window; they divide H and W.
            filling: Query, key and value (1, 3 * C) of what fills up smaller windows.

        Returns:
            (B, H, W, C).
        """
        batch, height, width, _ = qkv.shape
        tall, wide = window
        grid = (batch, height // tall, tall, width // wide, wide)
        qkv = qkv.view(*grid, 3, self.num_heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
        qkv = qkv.flatten(5, 6).flatten(1, 3)  # 3, windows, heads, tall * wide, d
        out = self._attend_tokens(*qkv.unbind(), window, filling)
        out = out.view(*grid[:2], grid[3], self.num_heads, *window, -1)
        return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, -1)

    def _attend_tokens(
        self, q: Tensor, k: Tensor, v: Tensor, window: Sequence[int], filling: Tensor | None
    ) -> Tensor:
        """Attend from queries to keys (windows, heads, tall * wide, d)."""
        whole = [max(side, self.window_size) for side in window]
        full = whole == list(window)
        if full and not self.use_rel_pos:
            return F.scaled_dot_product_attention(q, k, v)
        rows, columns = self._position_tables(whole, q)
        tables = rows[: window[0]], columns[: window[1]]
        if full:
            return relative_attention(q, k, v, *tables)
        _, key, value = filling.view(3, self.num_heads, 1, -1)
        return filled_attention(q, k, v, *tables, key, value)

    def _position_tables(self, whole: Sequence[int], q: Tensor) -> list[Tensor]:
        """For each row, and for each column, of a query: a vector for each of a key's."""
        if not self.use_rel_pos:
            return [q.new_zeros(side, side, q.shape[-1]) for side in whole]
        tables = self.rel_pos_h, self.rel_pos_w
        return [get_rel_pos(side, side, table) for side, table in zip(whole, tables, strict=True)]


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
