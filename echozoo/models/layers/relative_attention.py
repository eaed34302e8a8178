"""Attention with SAM's decomposed relative positions, without the (H * W)^2 bias in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits of one piece: 2 MB a core. 2^18 and 2^20 were measured to be alike, 2^22 slower.
_LOGITS_PER_CORE = 2**19
_LOGITS_ON_GPU = 2**26
# The fused CPU kernel works on blocks of queries; fewer than this slow it down.
_QUERIES = 256


def relative_attention(
    q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, col_bias: Tensor
) -> Tensor:
    """Scaled dot-product attention plus a bias that splits into rows and columns of the grid.

    The logit of query (h, w) and key (h', w') is ``q . k / sqrt(d) + row_bias[h'] +
    col_bias[w']`` with the biases of that query. The bias of all pairs exists for a piece of the
    queries at a time.

    Args:
        q: Queries (B, heads, H * W, d).
        k: Keys, the same shape.
        v: Values, the same shape.
        row_bias: (B, heads, H * W, H).
        col_bias: (B, heads, H * W, W).

    Returns:
        (B, heads, H * W, d).
    """
    if not (torch.is_grad_enabled() and row_bias.requires_grad):
        return _attend(q, k, v, row_bias, col_bias)
    if q.device.type == "cpu":
        return _RelativeAttention.apply(q, k, v, row_bias, col_bias)
    return _attend_by_channels(q, k, v, row_bias, col_bias)


def _attend(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, col_bias: Tensor) -> Tensor:
    """The fused kernel, with the bias of one piece after the other."""
    shape = q.shape
    tensors = [tensor.flatten(0, 1) for tensor in (q, k, v, row_bias, col_bias)]
    if torch.compiler.is_compiling():
        # One piece: a loop would be unrolled, and again for each other batch.
        return _attend_piece(*tensors).view(shape)
    q, k, v, row_bias, col_bias = tensors
    out = torch.empty_like(v)
    for heads, queries in _pieces(q):
        piece = heads, queries
        out[piece] = _attend_piece(q[piece], k[heads], v[heads], row_bias[piece], col_bias[piece])
    return out.view(shape)


def _attend_piece(q: Tensor, k: Tensor, v: Tensor, row_bias: Tensor, col_bias: Tensor) -> Tensor:
    """Attend from queries (heads, n, d) to keys (heads, H * W, d)."""
    bias = (row_bias.unsqueeze(-1) + col_bias.unsqueeze(-2)).flatten(-2)  # heads, n, H * W
    # Four dimensions, as the fused kernels want them.
    q, k, v, bias = (tensor.unsqueeze(0) for tensor in (q, k, v, bias))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).squeeze(0)


def _pieces(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut queries (heads of all images, H * W, d) so that a piece's logits stay near."""
    heads, tokens = q.shape[:2]
    budget = _LOGITS_ON_GPU if q.is_cuda else _LOGITS_PER_CORE * torch.get_num_threads()
    queries = min(tokens, max(_QUERIES, budget // tokens))
    group = max(1, budget // (queries * tokens))
    for head in range(0, heads, group):
        for query in range(0, tokens, queries):
            yield slice(head, head + group), slice(query, query + queries)


class _RelativeAttention(torch.autograd.Function):
    """`_attend`, whose backward pass computes the attention again, piece by piece.

    torch's kernels either keep every attention map for a bias that wants a gradient, or give it
    none.
    """

    @staticmethod
    def forward(ctx, q, k, v, row_bias, col_bias) -> Tensor:
        out = _attend(q, k, v, row_bias, col_bias)
        ctx.save_for_backward(q, k, v, row_bias, col_bias, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        saved = ctx.saved_tensors  # legal once, where it is recomputed
        shape = saved[0].shape
        tensors = [tensor.flatten(0, 1) for tensor in (*saved, grad)]
        q, k, v, row_bias, col_bias, out, grad = tensors
        scale = shape[-1] ** -0.5
        # The softmax's gradient needs the sum of p * dp over the keys, which is this.
        offset = (grad * out).sum(-1, keepdim=True)
        grad_k, grad_v = torch.zeros_like(k), torch.zeros_like(v)
        grad_q, grad_row, grad_col = map(torch.empty_like, (q, row_bias, col_bias))
        for heads, queries in _pieces(q):
            piece = heads, queries
            scaled = q[piece] * scale
            logits = torch.bmm(scaled, k[heads].mT)
            grid = logits.unflatten(-1, (row_bias.shape[-1], col_bias.shape[-1]))
            grid += row_bias[piece].unsqueeze(-1)
            grid += col_bias[piece].unsqueeze(-2)
            attention = logits.softmax(-1)
            grad_v[heads].baddbmm_(attention.mT, grad[piece])
            change = torch.bmm(grad[piece], v[heads].mT).sub_(offset[piece]).mul_(attention)
            grad_q[piece] = torch.bmm(change, k[heads]) * scale
            grad_k[heads].baddbmm_(change.mT, scaled)
            grid = change.unflatten(-1, grid.shape[-2:])
            grad_row[piece], grad_col[piece] = grid.sum(-1), grid.sum(-2)
        grads = (grad_q, grad_k, grad_v, grad_row, grad_col)
        return tuple(g.unflatten(0, shape[:2]) for g in grads)


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
