"""Sizes that SAMUS's adapters keep and change."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from echozoo.models.layers.conv_branch import ConvBranch, ConvStage, PositionAdapter
from echozoo.models.layers.mlp import FeatureAdapter


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    assert count(FeatureAdapter(768)) == 295_872
    assert count(ConvStage(768, 768)) == 5_309_952
    assert count(ConvBranch(3, (64, 128, 256, 768))) == 2_142_272
    assert count(PositionAdapter(768, 1)) == 5_309_952


def test_conv_branch_halves_once_a_stage():
    assert ConvBranch(3, (2, 4, 8))(torch.rand(2, 3, 24, 16)).shape == (2, 8, 6, 4)


def test_a_pool_after_a_stage_is_torchs():
    stage, x = ConvStage(3, 5), torch.rand(2, 3, 8, 6)
    torch.testing.assert_close(stage(x, pool=True), F.max_pool2d(stage(x), 2))


@pytest.mark.parametrize("pool", [False, True])
def test_activations_are_recomputed_and_not_kept(pool):
    stage, x = ConvStage(3, 5), torch.rand(2, 3, 8, 6, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        found = stage(x, pool)
    sizes = [tensor.shape for tensor in kept if not isinstance(tensor, nn.Parameter)]
    assert sizes == [x.shape, (2, 5, 8, 6)]  # of the convolution, and of what follows it
    wanted = F.gelu(stage.norm(stage.conv(x)))
    wanted = F.max_pool2d(wanted, 2) if pool else wanted
    change, leaves = torch.randn_like(wanted), (x, *stage.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, change), torch.autograd.grad(wanted, leaves, change)
    )


@pytest.mark.parametrize(("halvings", "size"), [(0, 16), (1, 8), (2, 4)])
def test_position_adapter(halvings, size):
    table = torch.rand(1, 16, 16, 6)
    small = PositionAdapter(6, halvings)(table)
    assert small.shape == (1, size, size, 6)
    if not halvings:
        assert torch.equal(small, table)
