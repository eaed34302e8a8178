"""Two sets of tokens that attend to each other, as in AutoSAMUS's prompt generator.

::

    x, y -> first coupling,  x asks y --> x' -.
                                               > the next layer's x, y
    x, y -> second coupling, y asks x --> y' -'
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def softmax_one(logits: Tensor) -> Tensor:
    """Softmax whose weights may say "none of these": ``e_i / (1 + sum of e)``.

    ``e_i = exp(x_i - max x)``, as in the published code of AutoSAMUS: N weights add up to a number
    between 1/2 and N / (N + 1). (With ``exp(-max x)`` in place of the 1 it would be the softmax
    beside one more logit of 0.)

    Args:
        logits: (..., N).

    Returns:
        Weights (..., N).
    """
    weights = logits.softmax(-1)
    # The largest weight of a softmax is 1 / sum(e).
    return weights / (1 + weights.amax(-1, keepdim=True))


class TokenAttention(nn.Module):
    """Multi-head attention between sets of tokens, with heads of any width, not yet projected.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads.
        head_dims: Channels of a head.
        leaky: Whether weights are those of `softmax_one`; else those of the softmax.
    """

    def __init__(self, embed_dims: int, num_heads: int, head_dims: int, leaky: bool) -> None:
        super().__init__()
        self.num_heads, self.leaky = num_heads, leaky
        self.q = nn.Linear(embed_dims, num_heads * head_dims, bias=False)
        self.kv = nn.Linear(embed_dims, 2 * num_heads * head_dims, bias=False)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Let each token of ``x`` gather from all tokens of ``source``.

        Args:
            x: Tokens (B, n, C) that ask.
            source: Tokens (B, m, C) that answer.

        Returns:
            (B, n, heads * head_dims).
        """
        q = self.q(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # B, heads, n, d
        kv = self.kv(source).unflatten(-1, (2, self.num_heads, -1))  # B, m, 2, heads, d
        k, v = kv.transpose(1, 3).unbind(2)  # B, heads, m, d
        if self.leaky:
            logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # B, heads, n, m
            out = softmax_one(logits).to(v.dtype) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).flatten(2)  # B, n, heads * d


class PlainCoupling(nn.Module):
    """``MLP(softmax(q k^T / sqrt(d)) v)``: autosamus.txt, equation 2, with a ReLU in the MLP."""

    def __init__(self, embed_dims: int, num_heads: int, head_dims: int, ffn_dims: int) -> None:
        super().__init__()
        self.attn = TokenAttention(embed_dims, num_heads, head_dims, leaky=False)
        self.mlp = nn.Sequential(
            nn.Linear(num_heads * head_dims, ffn_dims),
            nn.ReLU(inplace=True),
            nn.Linear(ffn_dims, embed_dims),
        )

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Map tokens (B, n, C) and their source (B, m, C) to new tokens (B, n, C)."""
        return self.mlp(self.attn(x, source))


class ResidualCoupling(nn.Module):
    """The same as a layer of a transformer: norms first, residuals, leaky attention weights."""

    def __init__(self, embed_dims: int, num_heads: int, head_dims: int, ffn_dims: int) -> None:
        super().__init__()
        self.norm_x = nn.LayerNorm(embed_dims)
        self.norm_source = nn.LayerNorm(embed_dims)
        self.attn = TokenAttention(embed_dims, num_heads, head_dims, leaky=True)
        self.out = nn.Linear(num_heads * head_dims, embed_dims)
        self.norm_mlp = nn.LayerNorm(embed_dims)
        self.mlp = nn.Sequential(
            nn.Linear(embed_dims, ffn_dims),
            nn.ReLU(inplace=True),
            nn.Linear(ffn_dims, embed_dims),
        )

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Map tokens (B, n, C) and their source (B, m, C) to new tokens (B, n, C)."""
        x = x + self.out(self.attn(self.norm_x(x), self.norm_source(source)))
        return x + self.mlp(self.norm_mlp(x))


class CrossTransformer(nn.Module):
    """Layers in which two sets of tokens change each other.

    Args:
        build: Makes one coupling, called as ``(x, source)``.
        depth: Layers.
        last_both: Whether the last layer changes the second set too. Where nobody reads it, its
            weights would be dead.
    """

    def __init__(self, build: Callable[[], nn.Module], depth: int, last_both: bool = True) -> None:
        super().__init__()
        self.first = nn.ModuleList(build() for _ in range(depth))
        self.second = nn.ModuleList(build() for _ in range(depth if last_both else depth - 1))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Couple two sets.

        Args:
            x: (B, n, C).
            y: (B, m, C).

        Returns:
            Both, changed; y as it was before the last layer where that does not change it.
        """
        for index, first in enumerate(self.first):
            changed = self.second[index](y, x) if index < len(self.second) else y
            x, y = first(x, y), changed
        return x, y
