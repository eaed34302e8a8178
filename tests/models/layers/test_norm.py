"""SyncBN in one process; several: tests/models/passes/test_sync_batch_norm.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echozoo.models.layers.norm import SyncBN

CHANNELS = 5


def step(norm: nn.Module, x: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
    """Output, gradients and running statistics of a norm whose scales are 1, 2, 3 ..."""
    x = x.clone().requires_grad_()
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1, CHANNELS + 1))
    out = norm(x)
    (out * weights).sum().backward()
    gradients = [x.grad, norm.weight.grad, norm.bias.grad]
    return [out.detach(), *gradients, norm.running_mean, norm.running_var]


@pytest.mark.parametrize("training", [True, False])
def test_one_process_is_plain_batch_norm(training):
    x, weights = 3 + 2 * torch.randn(16, CHANNELS, 2), torch.randn(16, CHANNELS, 2)
    found = step(SyncBN(CHANNELS).train(training), x, weights)
    wanted = step(nn.BatchNorm1d(CHANNELS).train(training), x, weights)
    torch.testing.assert_close(found, wanted)
