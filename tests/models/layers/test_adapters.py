"""Sizes that SAMUS's adapters keep and change."""

from __future__ import annotations

import pytest
import torch

from echozoo.models.layers.adapters import ConvBranch, ConvStage, FeatureAdapter, PositionAdapter


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes():
    assert count(FeatureAdapter(768)) == 295_872
    assert count(ConvStage(768, 768)) == 5_309_952
    assert count(ConvBranch(3, (64, 128, 256, 768))) == 2_142_272
    assert count(PositionAdapter(768, 1)) == 5_309_952


def test_conv_branch_halves_once_a_stage():
    assert ConvBranch(3, (2, 4, 8))(torch.rand(2, 3, 24, 16)).shape == (2, 8, 6, 4)


@pytest.mark.parametrize(("halvings", "size"), [(0, 16), (1, 8), (2, 4)])
def test_position_adapter(halvings, size):
    table = torch.rand(1, 16, 16, 6)
    small = PositionAdapter(6, halvings)(table)
    assert small.shape == (1, size, size, 6)
    if not halvings:
        assert torch.equal(small, table)
