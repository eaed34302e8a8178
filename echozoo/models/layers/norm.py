"""Batch norm whose batch is that of all processes together, on any device."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """Sum over all processes; what reaches one process's gradient is summed the same way."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SyncBN(_BatchNorm):
    """Batch norm over (N, C, ...) that takes its statistics over all processes while training.

    Two processes give what one gives with both batches: outputs, gradients (averaged over the
    processes, as distributed training does) and running statistics. torch's own SyncBatchNorm
    does so on a GPU only. Processes may hold unequal numbers of positions. Evaluation, and
    training in a single process, are plain batch norm.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: Weight of a new batch in the running statistics.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, ...) over everything but C."""
        together = self.training and dist.is_initialized() and dist.get_world_size() > 1
        return self._normalise_together(x) if together else super().forward(x)

    def _normalise_together(self, x: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (x.dim() - 2)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        # Mean first, then squares about it: sums of squares about zero would cancel.
        count = wide.new_full((1,), x.numel() // x.shape[1])
        sums = _SumOverProcesses.apply(torch.cat([wide.sum(axes), count]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = wide - mean.view(shape)
        variance = _SumOverProcesses.apply(centred.square().sum(axes)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"SyncBN: found an input of {x.dim()} dimensions, wants (N, C, ...)")
