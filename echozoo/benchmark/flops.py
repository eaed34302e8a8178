"""How much a network computes, and how much of it the machine can do in a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
    shape_wrapper,
)

from echozoo.benchmark.timing import alternate
from echozoo.models.passes.fast_cpu import FastLinear

_SIZES = (512, 1024, 2048, 4096, 8192)  # sides of matrices
_LONG = 0.05  # seconds of a product beside which starting it costs nothing


def count_flops(run: Callable[[], object]) -> int:
    """Count the floating-point operations of matrix products, convolutions and attention.

    A multiplication with its addition counts as two. Everything else (norms, activations) is left
    out, and so is what no formula is known for, such as quantised layers.

    Args:
        run: What to count in one call.
    """
    with _Counter() as counter:
        run()
    return counter.total


def matmul_peak(device: str, dtype: torch.dtype = torch.float32, repeats: int = 5) -> float:
    """Measure the floating-point operations a second of a product of large square matrices.

    Args:
        device: Where to multiply; on a CPU with as many threads as torch has now.
        dtype: Of the matrices, which are so large that a product takes its time.
        repeats: Products, of which the fastest counts.
    """
    for size in _SIZES:
        left = torch.randn(size, size, device=device).to(dtype)
        layer = FastLinear(size, size, bias=False, device=device, dtype=dtype).requires_grad_(False)
        product = {"product": partial(layer, left)}
        fastest = min(alternate(product, 1, device=device)["product"].seconds)
        if fastest > _LONG:
            break
    seconds = alternate(product, repeats, warmup=0, device=device)["product"].seconds
    return 2 * size**3 / min(fastest, *seconds)


class _Counter(TorchDispatchMode):
    """Adds up torch's formulas for the operations that are dispatched.

    torch's FlopCounterMode also tells modules apart, by hooks that fail where one is called without
    gradients on a parameter that trains.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = _FORMULAS.get(func.overloadpacket)
        if formula is None:
            with self:  # in inference mode what is made of other operations comes whole
                out = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if out is NotImplemented else out
        out = func(*args, **kwargs)
        self.total += formula(*args, **kwargs, out_val=out)
        return out


def _forward(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _backward(gradient: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


# torch has none for the fused attention of CPUs, and for addmm in place.
_FORMULAS = flop_registry | {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: shape_wrapper(_forward),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: shape_wrapper(_backward),
    torch.ops.aten.addmm_: flop_registry[torch.ops.aten.addmm],
}
