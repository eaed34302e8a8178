"""Batch norms of any network over all processes that train together, put on from outside."""

from __future__ import annotations

from mmengine.model import convert_sync_batchnorm
from torch import nn

from echozoo.models.layers.norm import SyncBN

# torch's own; what somebody has derived from them has a meaning of its own and stays.
_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def synchronise(model: nn.Module) -> nn.Module:
    """Let the batch norms of a model take their statistics over all processes while training.

    Two processes then train what one trains with both batches. On a GPU they become torch's
    SyncBatchNorm, which computes nowhere else; on a CPU they change their class to `SyncBN` and
    keep parameters, their names and hooks. Models without batch norms are left as they are.

    Args:
        model: The network to change, on its device, before it is wrapped.
    """
    if any(p.is_cuda for p in model.parameters()):
        return convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) in _PLAIN:
            module.__class__ = SyncBN
    return model
