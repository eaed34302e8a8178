"""A linear layer gives what torch's gives, whoever multiplies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from echozoo.models.layers import linear
from echozoo.models.layers.linear import MLP, Linear


@pytest.fixture
def products(monkeypatch) -> list[torch.Size]:
    """The shapes of what oneDNN multiplies, on whatever CPU this is."""
    seen, product = [], linear._product
    monkeypatch.setattr(linear, "_onednn_is_quicker", lambda: True)
    monkeypatch.setattr(
        linear, "_product", lambda x, *args: seen.append(x.shape) or product(x, *args)
    )
    return seen


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torch_with_gradients(products, shape, bias):
    layer = Linear(5, 7, bias=bias)
    x = torch.randn(shape, requires_grad=True)
    found, wanted = layer(x), F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(found, wanted)
    change, leaves = torch.randn_like(found), (x, *layer.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves, change), torch.autograd.grad(wanted, leaves, change)
    )
    assert len(products) == 2


def test_a_transposed_gradient(products):
    layer, x = Linear(5, 7), torch.randn(3, 4, 5, requires_grad=True)
    change = torch.randn(3, 7, 4).mT
    found, wanted = layer(x), F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(
        torch.autograd.grad(found, x, change), torch.autograd.grad(wanted, x, change)
    )


def test_a_frozen_layer_keeps_no_input(products):
    layer = Linear(5, 7).requires_grad_(False)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(torch.randn(3, 5, requires_grad=True))
    assert [tensor.shape for tensor in kept] == [layer.weight.shape]


@torch.no_grad()
def test_mixed_and_double_precision_are_torchs(products):
    x = torch.randn(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(5, 7)(x).dtype == torch.bfloat16
    assert Linear(5, 7).double()(x.double()).dtype == torch.float64
    assert not products


@torch.no_grad()
@pytest.mark.parametrize("onednn", [True, False])
def test_mlp(monkeypatch, onednn):
    monkeypatch.setattr(linear, "_onednn_is_quicker", lambda: onednn)
    mlp, x = MLP(4, 6), torch.randn(2, 3, 4)
    wanted = F.linear(
        F.gelu(F.linear(x, mlp.lin1.weight, mlp.lin1.bias)), mlp.lin2.weight, mlp.lin2.bias
    )
    torch.testing.assert_close(mlp(x), wanted)
    assert list(mlp.state_dict()) == ["lin1.weight", "lin1.bias", "lin2.weight", "lin2.bias"]
