"""Winograd's convolution equals torch's, with its gradients, and steps aside where it must."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from echozoo.models.passes import winograd
from echozoo.models.passes.fast_cpu import FastConv2d
from echozoo.models.passes.winograd import _Winograd, transform_filters


def conv3x3(inputs: int, outputs: int) -> FastConv2d:
    return FastConv2d(inputs, outputs, 3, padding=1, bias=False)


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 2)])
@pytest.mark.parametrize("kept", [True, False])
def test_equals_torch_with_gradients(size, kept):
    x = torch.randn(2, *size, 5, dtype=torch.double, requires_grad=True)
    weight = torch.randn(3, 5, 3, 3, dtype=torch.double, requires_grad=True)
    filters = torch.stack(list(transform_filters(weight.detach()))) if kept else None
    found = _Winograd.apply(x, weight, filters)
    wanted = F.conv2d(x.permute(0, 3, 1, 2), weight, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, wanted)
    change = torch.randn_like(found)
    torch.testing.assert_close(
        torch.autograd.grad(found, (x, weight), change),
        torch.autograd.grad(wanted, (x, weight), change),
    )


@pytest.fixture
def calls(monkeypatch) -> list[torch.Tensor]:
    """The filters of each convolution that Winograd's way was taken for."""
    seen, apply = [], _Winograd.apply
    monkeypatch.setattr(
        winograd._Winograd, "apply", lambda *args: seen.append(args[2]) or apply(*args)
    )
    return seen


@torch.no_grad()
def test_single_precision_is_near(calls):
    conv = conv3x3(256, 64)
    x = torch.randn(1, 256, 16, 16)
    wanted = F.conv2d(x.double(), conv.weight.double(), padding=1)
    assert (conv(x) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert len(calls) == 1


@torch.no_grad()
@pytest.mark.parametrize(
    ("channels", "size", "dtype"),
    [(8, (4, 4), torch.float32), (128, (4, 5), torch.float32), (128, (4, 4), torch.float64)],
)
def test_torch_where_it_does_not_pay(calls, channels, size, dtype):
    conv = conv3x3(channels, 4).to(dtype)
    x = torch.randn(1, channels, *size, dtype=dtype)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, padding=1))
    assert not calls


@torch.no_grad()
def test_mixed_precision_is_torchs(calls):
    conv = conv3x3(128, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(torch.randn(1, 128, 4, 4)).dtype == torch.bfloat16
    assert not calls


@torch.no_grad()
def test_filters_follow_the_weights(calls):
    conv = conv3x3(128, 4).eval()
    x = torch.randn(1, 128, 4, 4)
    conv(x), conv(x)
    assert calls[0] is calls[1]  # kept
    conv.weight.add_(1)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, padding=1), atol=1e-4, rtol=1e-4)
    conv.weight.data.add_(1)  # as averaged weights are written, before the mode changes
    conv.eval()
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, padding=1), atol=1e-4, rtol=1e-4)
