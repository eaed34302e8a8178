"""Linear layers by oneDNN on CPUs where it is quicker than the library that torch asks."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Linear(nn.Linear):
    """A linear layer; its products are oneDNN's on a CPU with AVX-512, in single precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        if not _onednn_pays(x):
            return super().forward(x)
        return _Linear.apply(x, self.weight, self.bias)


class MLP(nn.Module):
    """Linear, GELU, linear; names are those of SAM's blocks.

    Args:
        embed_dims: Channels of a token.
        hidden: Width in between.
    """

    def __init__(self, embed_dims: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = Linear(embed_dims, hidden)
        self.lin2 = Linear(hidden, embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (..., C) to (..., C)."""
        return self.lin2(self._widen(x))

    def _widen(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or not isinstance(self.lin1, Linear) or not _onednn_pays(x):
            return F.gelu(self.lin1(x))
        return _product(x, self.lin1.weight, self.lin1.bias, "gelu")  # one pass over memory less


class _Linear(torch.autograd.Function):
    """Called with the input (..., in), the weight (out, in) and the bias (out) or None."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        wanted = x if ctx.needs_input_grad[1] else None  # or nobody reads it
        ctx.save_for_backward(wanted, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grads = [None, None, None]
        if ctx.needs_input_grad[0]:
            grads[0] = _product(grad, weight.T, None)
        if ctx.needs_input_grad[1]:
            grads[1] = grad.reshape(-1, len(weight)).T @ x.reshape(-1, x.shape[-1])
        if ctx.needs_input_grad[2]:
            grads[2] = grad.reshape(-1, len(weight)).sum(0)
        return tuple(grads)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    # What inductor makes of a linear layer; it has no gradient of its own.
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")


def _onednn_pays(x: Tensor) -> bool:
    """Whether oneDNN multiplies; compilers and exports see a linear layer."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and _onednn_is_quicker()
    )


@functools.cache
def _onednn_is_quicker() -> bool:
    """Measured (docs/performance.md): 8 to 15 % quicker with AVX-512, slower with AVX2."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and torch.backends.mkldnn.is_available()
