"""3 x 3 convolutions by Winograd's minimal filtering, F(2 x 2, 3 x 3), as matrix products.

A tile of 4 x 4 pixels gives 2 x 2 outputs with 16 multiplications in place of 36 (Lavin and Gray,
arXiv 1509.09308). cuDNN does so by itself; torch's convolutions on a CPU do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def convolve(x: Tensor, weight: Tensor, filters: Tensor | None = None) -> Tensor:
    """Convolve with padding 1, with gradients.

    Args:
        x: (N, C, H, W) of even height and width.
        weight: (C', C, 3, 3).
        filters: `all_filters` of the weight, where it was kept.

    Returns:
        (N, C', H, W), which lies in memory as (N, H, W, C').
    """
    out = _Winograd.apply(x.permute(0, 2, 3, 1), weight, filters)  # N, H, W, C'
    return out.permute(0, 3, 1, 2)  # N, C', H, W


def all_filters(weight: Tensor) -> Tensor:
    """Transform filters (C', C, 3, 3) to (4, 4, C', C)."""
    return torch.stack(list(transform_filters(weight.detach())))


class _Winograd(torch.autograd.Function):
    """A convolution (N, H, W, C) -> (N, H, W, C') of even sides; keeps its input alone.

    Called with the input, the weight (C', C, 3, 3) and what `transform_filters` makes of it, or
    None.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, filters: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, transform_filters(weight) if filters is None else filters)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            # The adjoint is the convolution with the filters turned round.
            turned = (filters.mT for filters in transform_filters(weight, turned=True))
            grad_x = _convolve(grad, turned)
        if ctx.needs_input_grad[1]:
            grad_weight = weight.new_zeros(9, weight[:, :, 0, 0].numel())  # 9, C' * C
            parts = zip(_transform(grad, _spread), _transform(_pad(x), _split, 1), strict=True)
            for matrix, (left, right) in zip(_filter_matrix(weight), parts, strict=True):
                grad_weight.addmm_(matrix.T, torch.bmm(left.mT, right).flatten(1))
            grad_weight = grad_weight.T.reshape(weight.shape)
        return grad_x, grad_weight, None


def transform_filters(weight: Tensor, turned: bool = False) -> Iterator[Tensor]:
    """Transform filters (C', C, 3, 3), or the same turned by 180 degrees, to 4 times (4, C', C).

    All at once are so large that each time the system gives new memory for them, which is slow.
    """
    columns = weight.flatten(2).permute(2, 0, 1).flatten(1)  # 9, C' * C
    for matrix in _filter_matrix(weight):
        yield ((matrix.flip(1) if turned else matrix) @ columns).view(4, *weight.shape[:2])


def _filter_matrix(weight: Tensor) -> Tensor:
    """What makes 4 x 4 numbers of the 9 of a filter: (4, 4, 9)."""
    side = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    return torch.kron(side, side).view(4, 4, 9)


def _convolve(x: Tensor, filters: Iterable[Tensor]) -> Tensor:
    """Convolve (N, H, W, C) with filters of `transform_filters` to (N, H, W, C')."""
    images, height, width, _ = x.shape
    parts = zip(_transform(_pad(x), _split, border=1), filters, strict=True)
    products = torch.stack([torch.bmm(part, some.mT) for part, some in parts])
    products = products.view(4, 4, images, height // 2, width // 2, -1)
    rows = [torch.stack(_join(half), 3) for half in _join(products)]  # N, H / 2, W / 2, 2, C'
    return torch.stack(rows, 2).view(images, height, width, -1)


def _pad(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 1, 1, 1, 1))


def _transform(x: Tensor, along: Callable[[Tensor, int, Tensor], None], border: int = 0) -> Tensor:
    """Transform pixels and a border along height, then along width, to (4, 4, tiles, C)."""
    images, height, width, channels = x.shape
    tall, wide = height // 2 - border, width // 2 - border
    rows = x.new_empty(4, images, tall, width, channels)
    parts = x.new_empty(4, 4, images, tall, wide, channels)
    along(x, 1, rows)
    for row, part in zip(rows, parts, strict=True):
        along(row, 2, part)
    return parts.view(4, 4, -1, channels)


def _split(x: Tensor, dim: int, out: Tensor) -> None:
    """Of each run of 4 pixels, 2 apart: its four sums."""
    count = x.shape[dim] - 3
    a, b, c, d = (x.narrow(dim, i, count).unfold(dim, 1, 2).squeeze(-1) for i in range(4))
    torch.sub(a, c, out=out[0])
    torch.add(b, c, out=out[1])
    torch.sub(c, b, out=out[2])
    torch.sub(b, d, out=out[3])


def _join(products: Tensor) -> tuple[Tensor, Tensor]:
    """Of four products: two neighbours."""
    a, b, c, d = products.unbind()
    return a + b + c, b - c - d


def _spread(x: Tensor, dim: int, out: Tensor) -> None:
    """Of each two neighbours: what the four products have of them; the adjoint of `_join`."""
    a, b = x.unflatten(dim, (-1, 2)).unbind(dim + 1)
    out[0] = a
    torch.add(a, b, out=out[1])
    torch.sub(a, b, out=out[2])
    torch.neg(b, out=out[3])
