"""oneDNN's linear layers and convolutions, with what follows them in the same kernel."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula


class _Linear(torch.autograd.Function):
    """Called with the input (N, in), the weight (out, in) and the bias (out) or None."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        wanted = x if ctx.needs_input_grad[1] else None  # or nobody reads it
        ctx.save_for_backward(wanted, weight)
        return linear_without_gradient(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grads = [None, None, None]
        if ctx.needs_input_grad[0]:
            grads[0] = linear_without_gradient(grad, weight.T, None)
        if ctx.needs_input_grad[1]:
            grads[1] = grad.T @ x
        if ctx.needs_input_grad[2]:
            grads[2] = grad.sum(0)
        return tuple(grads)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (..., in) to (..., out), with gradients."""
    # Of a view that the function itself made, nothing that follows could work in place.
    out = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return out.view(*x.shape[:-1], len(weight))


def linear_without_gradient(
    x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False
) -> Tensor:
    """Map (..., in) to (..., out), and through a GELU, which is one pass over memory less."""
    # What inductor makes of a linear layer; it has no gradient of its own.
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, _then(gelu), [], _EXACT)


def convolve_without_gradient(
    x: Tensor, layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, gelu: bool = False
) -> Tensor:
    """Convolve (N, C, H, W) as a layer says, by a weight and a bias that are given."""
    # Tokens follow, whose channels lie side by side.
    x = x.contiguous(memory_format=torch.channels_last)
    how = layer.padding, layer.stride, layer.dilation, layer.groups
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *how, _then(gelu), [], _EXACT)


_EXACT = "none"  # of the ways to compute a GELU: not by tanh


def _then(gelu: bool) -> str:
    return "gelu" if gelu else "none"


def takes(x: Tensor) -> bool:
    """Whether these are for a tensor; compilers and exports see torch's own layers."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and torch.backends.mkldnn.is_available()
    )


def wants_gradient(*tensors: Tensor) -> bool:
    """Whether what is computed of tensors has a gradient."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


@functools.cache
def multiplies_quicker() -> bool:
    """Measured (docs/performance.md): 8 to 15 % quicker with AVX-512, slower with AVX2."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


@register_flop_formula(torch.ops.mkldnn._linear_pointwise, get_raw=True)
@register_flop_formula(torch.ops.mkldnn._convolution_pointwise, get_raw=True)
def _flops(x: Tensor, weight: Tensor, *args: object, out_val: Tensor, **kwargs: object) -> int:
    return 2 * out_val.numel() * weight[0].numel()
