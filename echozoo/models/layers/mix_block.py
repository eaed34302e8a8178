"""MISSFormer's transformer block (arXiv 2109.07162): attention to fewer places, a mixing MLP."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4  # of the channels inside an MLP
# What the published files call a module of a block -> what it is called here.
PUBLISHED_NAMES = {".dwconv.dwconv.": ".dwconv."}


class ReducedAttention(nn.Module):
    """Multi-head attention whose keys and values come from a map reduced by a convolution.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads; they divide the channels.
        reduction: Side of the squares of tokens that become one key; 1 reduces nothing.
    """

    def __init__(self, embed_dims: int, num_heads: int, reduction: int = 1) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(embed_dims, embed_dims)
        self.kv = nn.Linear(embed_dims, 2 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.sr = self.norm = None
        if reduction > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, reduction, reduction)
            self.norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Let tokens (N, h * w, C) of a map of ``size`` (h, w) attend to each other."""
        source = x
        if self.sr is not None:
            source = self.norm(to_tokens(self.sr(to_map(x, size))))  # N, m, C
        return self.attend(x, source)

    def attend(self, x: Tensor, source: Tensor) -> Tensor:
        """Let tokens (N, n, C) gather from tokens (N, m, C)."""
        q = self.q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # N, heads, n, d
        kv = self.kv(source).unflatten(-1, (2, self.num_heads, -1))  # N, m, 2, heads, d
        k, v = kv.transpose(1, 3).unbind(2)  # N, heads, m, d
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))


class MixSkipFFN(nn.Module):
    """Widen, mix with the neighbours of each place, norm of the two together, GELU, narrow.

    The published module has two more norms, which it never uses.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        inner = EXPANSION * embed_dims
        self.fc1 = nn.Linear(embed_dims, inner)
        self.dwconv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.norm1 = nn.LayerNorm(inner)
        self.fc2 = nn.Linear(inner, embed_dims)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map tokens (N, h * w, C) of a map of ``size`` (h, w) to the same shape."""
        x = self.fc1(x)
        mixed = to_tokens(self.dwconv(to_map(x, size)))
        return self.fc2(F.gelu(self.norm1(mixed + x)))


class MixBlock(nn.Module):
    """Attention, then MLP; a norm before each, a skip around each.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads of the attention.
        reduction: See `ReducedAttention`.
    """

    def __init__(self, embed_dims: int, num_heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims)
        self.attn = ReducedAttention(embed_dims, num_heads, reduction)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.mlp = MixSkipFFN(embed_dims)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map tokens (N, h * w, C) of a map of ``size`` (h, w) to the same shape."""
        x = x + self.attn(self.norm1(x), size)
        return x + self.mlp(self.norm2(x), size)


def to_map(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Lay tokens (N, h * w, C) out as a map (N, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(size))


def to_tokens(maps: Tensor) -> Tensor:
    """Read the tokens (N, h * w, C) of a map (N, C, h, w), row by row."""
    return maps.flatten(2).transpose(1, 2)
