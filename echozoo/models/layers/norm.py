"""Norms that a config names, and batch norm over all processes together, on any device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from echozoo.errors import ConfigError
from echozoo.registry import MODELS


class ChannelNorm(LayerNorm2d):
    """SAM's norm over the channels of each position, by torch's fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W); the result lies in memory as (N, H, W, C)."""
        x = x.permute(0, 2, 3, 1)  # N, H, W, C
        x = F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)  # N, C, H, W


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
        scale = (variance + self.eps).rsqrt()
        if not self.affine:
            return (centred * scale.view(shape)).to(x.dtype)
        scale = self.weight * scale
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked += 1
        weight = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"SyncBN: found an input of {x.dim()} dimensions, wants (N, C, ...)")


# What a norm_cfg names that is not as in mmcv: batch norm is that of all processes.
_OWN_NORMS = {"BN": SyncBN, "SyncBN": SyncBN, "LN2d": ChannelNorm}


def build_norm(cfg: Mapping, channels: int) -> nn.Module:
    """Build the norm of a convolution from its ``norm_cfg``.

    Args:
        cfg: ``type`` and settings: ``dict(type="BN")``, over all processes (see `SyncBN`);
            ``dict(type="GN", num_groups=8)``; ``dict(type="LN2d")``, SAM's norm over the channels
            of each position; or any norm that is registered. The last two do not depend on the
            batch, which suits batches of one.
        channels: Channels of its input (N, C, H, W).

    Raises:
        ConfigError: There is no such norm, or its settings do not fit.
    """
    name = cfg.get("type")
    kind = _OWN_NORMS.get(name) or (MODELS.get(name) if isinstance(name, str) else name)
    try:
        return build_norm_layer({**cfg, "type": kind}, channels)[1]
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"found norm_cfg={dict(cfg)}, wants a norm for {channels} channels: dict(type='BN'), "
            "dict(type='LN2d') or dict(type='GN', num_groups=...), the groups a divisor"
        ) from error
