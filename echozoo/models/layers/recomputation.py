"""Recomputation in the backward pass (arXiv 1604.06174): cheap functions, and whole blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function that is cheap and keep none of its intermediate results.

    The backward pass computes them again. Compilers decide for themselves what to keep.

    Args:
        function: Of one tensor; deterministic.
        x: What it is applied to.
    """
    if not (torch.is_grad_enabled() and x.requires_grad) or torch.compiler.is_compiling():
        return function(x)
    return checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)


def run_twice(part: Callable, *inputs: Tensor, again: Callable[[], AbstractContextManager]) -> Any:
    """Run a part and keep its inputs alone; the backward pass runs it once more.

    Args:
        part: Maps tensors to tensors.
        *inputs: What it maps.
        again: Makes the context of the second run. A compiler has no use for it: it plans which
            numbers are computed twice, and runs nothing else twice.
    """
    if torch.compiler.is_compiling():
        return checkpoint(part, *inputs, use_reentrant=False)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), again()

    return checkpoint(part, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def uncounted(model: nn.Module) -> Iterator[None]:
    """Batch norms that normalise as in training, and whose running statistics stay as they are."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # A weight of 0 for the new batch, and a counter that nobody reads.
        norm.momentum, norm.num_batches_tracked = 0.0, norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, counter in kept:
            norm.momentum, norm.num_batches_tracked = momentum, counter
