"""Attention with SAM's decomposed relative positions, without the (H * W)^2 bias in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits of one piece: 2 MB a core. 2^18 and 2^20 were measured to be alike, 2^22 slower.
_LOGITS_PER_CORE = 2**19
_LOGITS_ON_GPU = 2**26
# The fused CPU kernel works on blocks of queries; fewer than this slow it down.
_QUERIES = 256


def relative_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Scaled dot-product attention plus a bias that splits into rows and columns of the grid.

    The logit of query (h, w) and key (h', w') is ``q . k / sqrt(d) + q . rows[h, h'] +
    q . columns[w, w']``. The bias of all pairs exists for a piece of the queries at a time.

    Args:
        q: Queries (B, heads, H * W, d).
        k: Keys, the same shape.
        v: Values, the same shape.
        rows: Relative positions (H, H, d), of a query's row and a key's.
        columns: (W, W, d).

    Returns:
        (B, heads, H * W, d).
    """
    rows, columns = rows.to(q.dtype), columns.to(q.dtype)  # in mixed precision they differ
    gradients = torch.is_grad_enabled() and (q.requires_grad or rows.requires_grad)
    if gradients and q.device.type == "cpu":
        return _RelativeAttention.apply(q, k, v, rows, columns)
    attend = _attend_by_channels if gradients else _attend
    return attend(q, k, v, *_biases(q, rows, columns))


def filled_attention(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """`relative_attention` in windows of H * W of which the first h * w have tokens.

    What fills the rest is one token over and over: together these are one key, whose logit is
    that of one of them plus the logarithm of the sum of their exp(bias).

    Args:
        q: Queries (B, heads, h * w, d).
        k: Keys of the tokens that are there, the same shape.
        v: Values, the same shape.
        rows: (h, H, d); h < H, or w < W, or both.
        columns: (w, W, d).
        key: Of the filling (heads, 1, d).
        value: Of the filling, the same shape.

    Returns:
        (B, heads, h * w, d).
    """
    height, width = len(rows), len(columns)
    row_bias, col_bias = _biases(q, rows, columns)
    filled = []
    if height < rows.shape[1]:
        filled.append(row_bias[..., height:].logsumexp(-1) + col_bias.logsumexp(-1))
    if width < columns.shape[1]:
        beside = col_bias[..., width:].logsumexp(-1)
        filled.append(row_bias[..., :height].logsumexp(-1) + beside)
    filled = torch.stack(filled, -1).logsumexp(-1, keepdim=True)
    bias = torch.cat([_sum(row_bias[..., :height], col_bias[..., :width]), filled], -1)
    # Not len(tokens): in an export it would be a number.
    k, v = (
        torch.cat([tokens, one.expand(tokens.shape[0], -1, -1, -1)], 2)
        for tokens, one in ((k, key), (v, value))
    )
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def _biases(q: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """What queries (B, heads, h * w, d) add for each row and each column of the keys."""
    grid = q.unflatten(2, (len(rows), len(columns)))
    return (
        torch.einsum("bnhwd,hkd->bnhwk", grid, rows).flatten(2, 3),  # B, heads, h * w, H
        torch.einsum("bnhwd,wkd->bnhwk", grid, columns).flatten(2, 3),  # B, heads, h * w, W
    )


def _attend(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, col_bias: Tensor) -> Tensor:
    """The fused kernel, with the bias of one piece after the other."""
    if torch.compiler.is_compiling():
        # One piece: a loop would be unrolled, and again for each other batch.
        bias = _sum(row_bias, col_bias)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    out = torch.empty_like(v.transpose(1, 2)).transpose(1, 2)  # the tokens' heads side by side
    for images, heads, queries in _pieces(q, k.shape[2]):
        part, all_of = (images, heads, queries), (images, heads)
        bias = _sum(row_bias[part], col_bias[part])
        out[part] = F.scaled_dot_product_attention(q[part], k[all_of], v[all_of], attn_mask=bias)
    return out


def _sum(row_bias: Tensor, col_bias: Tensor) -> Tensor:
    """The bias of all pairs (B, heads, queries, H * W)."""
    return (row_bias.unsqueeze(-1) + col_bias.unsqueeze(-2)).flatten(-2)


def _pieces(q: Tensor, keys: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cut queries (B, heads, n, d) so that a piece's logits stay near: images, heads, queries."""
    images, heads, tokens = q.shape[:3]
    budget = _LOGITS_ON_GPU if q.is_cuda else _LOGITS_PER_CORE * torch.get_num_threads()
    queries = min(tokens, max(_QUERIES, budget // keys))
    group = max(1, budget // (queries * keys))  # heads, of whole images where it is many
    steps = max(1, group // heads), min(group, heads), queries
    starts = (range(0, size, step) for size, step in zip(q.shape, steps, strict=False))
    for start in product(*starts):
        yield tuple(slice(at, at + step) for at, step in zip(start, steps, strict=True))


class _RelativeAttention(torch.autograd.Function):
    """`_attend`, whose backward pass computes the attention again, piece by piece.

    torch's kernels either keep every attention map for a bias that wants a gradient, or give it
    none.
    """

    @staticmethod
    def forward(ctx, q, k, v, rows, columns) -> Tensor:
        ctx.save_for_backward(q, k, v, rows, columns)
        return _attend(q, k, v, *_biases(q, rows, columns))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, rows, columns = ctx.saved_tensors  # legal once, where it is recomputed
        row_bias, col_bias = _biases(q, rows, columns)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        scale = q.shape[-1] ** -0.5
        for images, heads, queries in _pieces(q, k.shape[2]):
            part, all_of = (images, heads, queries), (images, heads)
            scaled = q[part] * scale
            logits = scaled @ k[all_of].mT
            grid = logits.unflatten(-1, (len(rows), len(columns)))
            grid += row_bias[part].unsqueeze(-1)
            grid += col_bias[part].unsqueeze(-2)
            attention = logits.softmax(-1)
            grad_v[all_of] += attention.mT @ grad[part]
            change = (grad[part] @ v[all_of].mT).mul_(attention)
            change.addcmul_(attention, change.sum(-1, keepdim=True), value=-1)
            grad_q[part] = (change @ k[all_of]).mul_(scale)
            grad_k[all_of] += change.mT @ scaled
            grid = change.view_as(grid)
            # What is read of the biases from here on is their gradient.
            row_bias[part], col_bias[part] = grid.sum(-1), grid.sum(-2)
        size = len(rows), len(columns)
        grad_rows, grad_columns = (bias.unflatten(2, size) for bias in (row_bias, col_bias))
        grid = grad_q.unflatten(2, size)
        grid += torch.einsum("bnhwk,hkd->bnhwd", grad_rows, rows)
        grid += torch.einsum("bnhwk,wkd->bnhwd", grad_columns, columns)
        grads = [grad_q, grad_k, grad_v, None, None]
        if ctx.needs_input_grad[3]:
            grads[3] = torch.einsum("bnhwk,bnhwd->hkd", grad_rows, q.unflatten(2, size))
        if ctx.needs_input_grad[4]:
            grads[4] = torch.einsum("bnhwk,bnhwd->wkd", grad_columns, q.unflatten(2, size))
        return tuple(grads)


def _attend_by_channels(
    q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, col_bias: Tensor
) -> Tensor:
    """The bias as further channels: the queries carry it, the keys say where they are by ones.

    For a GPU, whose fused kernels are quick enough at the greater width.
    """
    height, width, dims = row_bias.shape[-1], col_bias.shape[-1], q.shape[-1]
    rows = torch.eye(height, device=k.device, dtype=k.dtype).repeat_interleave(width, 0)
    columns = torch.eye(width, device=k.device, dtype=k.dtype).repeat(height, 1)
    place = torch.cat([rows, columns], -1).expand(*k.shape[:-1], -1)
    q = torch.cat([q * dims**-0.5, row_bias, col_bias], -1)
    k = torch.cat([k, place], -1)
    v = F.pad(v, (0, height + width))  # the fused kernels want one width for all three
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :dims]
