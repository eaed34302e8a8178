"""Bottlenecks behind and beside layers, by the formulas of Medical SAM Adapter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from related import build
from torch import nn

from echozoo.models.layers.mlp import MLP
from echozoo.registry import ADAPTERS


def bottleneck(adapter, x):
    return adapter.up(F.gelu(adapter.down(x)))


def test_behind_a_linear_layer():
    layer, x = nn.Linear(6, 8), torch.randn(2, 3, 6)
    adapted = ADAPTERS.build(dict(type="SerialBottleneck", layer=layer, ratio=0.5))
    y = layer(x)
    torch.testing.assert_close(adapted(x), y + bottleneck(adapted.adapter, y))
    assert adapted.adapter.down.weight.shape == (4, 8)


def test_beside_an_mlp():
    layer, x = MLP(8, 16), torch.randn(2, 3, 8)
    adapted = ADAPTERS.build(dict(type="ParallelBottleneck", layer=layer))
    torch.testing.assert_close(adapted(x), layer(x) + 0.5 * bottleneck(adapted.adapter, x))


def test_adapter_shadow_has_both_in_every_block_and_sams_names():
    with torch.device("meta"):
        model, sam = build("adapter_shadow"), build("sam_finetune")
    own = {n: p.numel() for n, p in model.named_parameters() if ".adapter." in n}
    assert sum(own.values()) == 7_100_928  # as of Medical SAM Adapter in 2-D
    backbone = {n for n, _ in model.named_parameters() if n.startswith("backbone.")}
    assert backbone - set(own) == {n for n, _ in sam.named_parameters() if "backbone." in n}
