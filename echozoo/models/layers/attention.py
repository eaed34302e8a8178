"""Attention over token grids: SAM's with decomposed relative positions, and cross attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor, nn


def relative_attention(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, col_bias: Tensor):
    """Scaled dot-product attention plus a bias that splits into rows and columns of the grid.

    The logit of query (h, w) and key (h', w') is ``q . k / sqrt(d) + row_bias[h'] +
    col_bias[w']`` with the biases of that query.

    Args:
        q: Queries (B, heads, H * W, d).
        k: Keys, the same shape.
        v: Values, the same shape.
        row_bias: (B, heads, H * W, H).
        col_bias: (B, heads, H * W, W).

    Returns:
        (B, heads, H * W, d).
    """
    height, width, dims = row_bias.shape[-1], col_bias.shape[-1], q.shape[-1]
    if not row_bias.requires_grad:
        # Without gradients the fused kernel takes the full bias, which is the quickest.
        bias = row_bias.unsqueeze(-1) + col_bias.unsqueeze(-2)  # B, heads, H * W, H, W
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(-2))
    # A bias that wants gradients would send torch to its slow path and keep (H * W)^2 numbers a
    # head for the backward pass. Further channels say the same: the queries carry the biases, the
    # keys say by ones which row and which column they are in.
    rows = torch.eye(height, device=k.device, dtype=k.dtype).repeat_interleave(width, 0)
    columns = torch.eye(width, device=k.device, dtype=k.dtype).repeat(height, 1)
    place = torch.cat([rows, columns], -1).expand(*k.shape[:-1], -1)
    q = torch.cat([q * dims**-0.5, row_bias, col_bias], -1)
    k = torch.cat([k, place], -1)
    v = F.pad(v, (0, height + width))  # the fused kernels want one width for all three
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :dims]


class GridAttention(nn.Module):
    """Self-attention over a grid of tokens, with SAM's decomposed relative positions.

    Parameter names and values are those of SAM's image encoder. At another grid size than the
    nominal one the position tables are interpolated linearly, as SAM does.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads; they divide the channels.
        grid_size: Nominal height and width of the (square) grid or window, in tokens.
        use_rel_pos: Whether there are relative positions.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, grid_size: int, use_rel_pos: bool = True
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.use_rel_pos = use_rel_pos
        if use_rel_pos:
            table = (2 * grid_size - 1, embed_dims // num_heads)
            self.rel_pos_h = nn.Parameter(torch.zeros(table))
            self.rel_pos_w = nn.Parameter(torch.zeros(table))

    def forward(self, x: Tensor) -> Tensor:
        """Let every token look at every other of its grid.

        Args:
            x: Tokens (B, H, W, C).

        Returns:
            (B, H, W, C).
        """
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).view(batch, height * width, 3, self.num_heads, -1)
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
        return self.proj(out.transpose(1, 2).reshape(x.shape))  # B, H, W, C


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
