"""oneDNN's linear layer gives what torch's gives, with its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from echozoo.models.passes import onednn
from echozoo.models.passes.fast_cpu import FastConv2d, FastLinear


@pytest.fixture(autouse=True)
def quicker(monkeypatch) -> None:
    """Whatever CPU this is."""
    monkeypatch.setattr(onednn, "multiplies_quicker", lambda: True)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torch_with_gradients(shape, bias):
    layer = FastLinear(5, 7, bias=bias)
    x = torch.randn(shape, requires_grad=True)
    assert layer.by_onednn(x)
    found, wanted = layer(x), F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(found, wanted)
    change, leaves = torch.randn_like(found), (x, *layer.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, change), torch.autograd.grad(wanted, leaves, change)
    )


def test_a_transposed_gradient():
    layer, x = FastLinear(5, 7), torch.randn(3, 4, 5, requires_grad=True)
    change = torch.randn(3, 7, 4).mT
    found, wanted = layer(x), F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(
        torch.autograd.grad(found, x, change), torch.autograd.grad(wanted, x, change)
    )


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5)])
def test_what_follows_may_work_in_place(shape):
    layer, x = FastLinear(5, 7), torch.randn(shape, requires_grad=True)
    found = torch.autograd.grad(layer(x).relu_().sum(), (x, layer.weight))
    wanted = F.linear(x, layer.weight, layer.bias).relu().sum()
    torch.testing.assert_close(found, torch.autograd.grad(wanted, (x, layer.weight)))


def test_a_frozen_layer_keeps_no_input():
    layer = FastLinear(5, 7).requires_grad_(False)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(torch.randn(3, 5, requires_grad=True))
    assert [tensor.shape for tensor in kept] == [layer.weight.shape]


@torch.no_grad()
def test_mixed_and_double_precision_are_torchs():
    x = torch.randn(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert not FastLinear(5, 7).by_onednn(x)
        assert FastLinear(5, 7)(x).dtype == torch.bfloat16
    assert FastLinear(5, 7).double()(x.double()).dtype == torch.float64


@torch.no_grad()
@pytest.mark.parametrize("settings", [dict(stride=2), dict(dilation=2), dict(groups=3)])
def test_convolutions(settings):
    layer, x = FastConv2d(6, 9, 3, padding=1, **settings), torch.randn(2, 6, 8, 7)
    assert layer.by_onednn(x)
    torch.testing.assert_close(layer(x), nn.Conv2d.forward(layer, x))
    torch.testing.assert_close(
        onednn.convolve_without_gradient(x, layer, layer.weight, layer.bias, gelu=True),
        F.gelu(F.conv2d(x, layer.weight, layer.bias, padding=1, **settings)),
    )


@torch.no_grad()
def test_operations_are_counted_as_torchs():
    layers, x = (FastConv2d(6, 9, 3), FastLinear(7, 5)), torch.randn(2, 6, 8, 7)
    counts = []
    for kind in (None, nn.Module):
        with FlopCounterMode(display=False) as counter:
            for layer in layers:
                (layer if kind is None else layer.plain.forward.__get__(layer))(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
