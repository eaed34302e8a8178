"""Attention equals SAM's, over grids and windows, whole and in pieces, with its gradients."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling.image_encoder import (
    Attention,
    window_partition,
    window_unpartition,
)
from torch import Tensor

from echozoo.models.layers import relative_attention
from echozoo.models.layers.attention import CrossAttention, GridAttention
from echozoo.models.layers.relative_attention import _attend_by_channels


def pair(
    size: int, window: int = 0, heads: int = 2, positions: bool = True
) -> tuple[GridAttention, Attention]:
    ours = GridAttention(8, heads, size, window, positions)
    if positions:
        torch.nn.init.normal_(ours.rel_pos_h)
        torch.nn.init.normal_(ours.rel_pos_w)
    theirs = Attention(8, heads, use_rel_pos=positions, input_size=(window or size,) * 2)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def in_windows(attention: Attention, x: Tensor, window: int) -> Tensor:
    """SAM's way: fill up with zeros, cut, attend, put together."""
    windows, padded = window_partition(x, window)
    return window_unpartition(attention(windows), window, padded, x.shape[1:3])


@pytest.fixture(params=["whole", "in pieces"])
def _pieces(request, monkeypatch):
    if request.param == "in pieces":
        monkeypatch.setattr(relative_attention, "_QUERIES", 5)
        monkeypatch.setattr(relative_attention, "_LOGITS_PER_CORE", 1)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (6, 3)])
def test_equals_sam_with_and_without_gradients(shape, window):
    ours, theirs = pair(4, window)
    x = torch.randn(2, *shape, 8)

    def wanted(x: Tensor) -> Tensor:
        return in_windows(theirs, x, window) if window else theirs(x)

    with torch.no_grad():
        torch.testing.assert_close(ours(x), wanted(x))
    outs, grads = [], []
    for attention, run in ((ours, ours), (theirs, wanted)):
        leaf = x.clone().requires_grad_()
        out = run(leaf)
        out.square().sum().backward()
        outs.append(out)
        grads.append([leaf.grad, *(p.grad for _, p in sorted(attention.named_parameters()))])
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (6, 3)])
def test_windows_without_positions(shape):
    ours, theirs = pair(4, 3, positions=False)
    x = torch.randn(2, *shape, 8)
    torch.testing.assert_close(ours(x), in_windows(theirs, x, 3))


@pytest.mark.parametrize("window", [0, 3])
def test_mixed_precision_trains(window):
    ours, theirs = pair(4, window)
    x = torch.randn(2, 4, 4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = ours(x)
    out.float().square().sum().backward()
    wanted = in_windows(theirs, x, window) if window else theirs(x)
    wanted.square().sum().backward()
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), wanted, rtol=0.05, atol=0.05)
    for (_, found), (_, other) in zip(
        sorted(ours.named_parameters()), sorted(theirs.named_parameters()), strict=True
    ):
        error = (found.grad - other.grad).norm() / other.grad.norm()
        assert error < 0.05


def test_positions_as_channels_are_the_same_attention():
    q, k, v = torch.randn(3, 2, 4, 15, 8)
    rows, columns = torch.randn(3, 3, 8), torch.randn(5, 5, 8)
    found = _attend_by_channels(q, k, v, *relative_attention._biases(q, rows, columns))
    wanted = relative_attention.relative_attention(q, k, v, rows, columns)
    torch.testing.assert_close(found, wanted)


def test_no_table_without_relative_positions():
    attention = GridAttention(8, 2, 4, use_rel_pos=False)
    assert not any("rel_pos" in name for name in attention.state_dict())
    x = torch.randn(1, 4, 4, 8)
    turned = attention(x.flip(1)).flip(1)
    torch.testing.assert_close(attention(x), turned)  # without positions, order says nothing


def test_cross_attention_equals_the_formula():
    attention = CrossAttention(8, 2)
    x, source = torch.randn(3, 2, 4, 8), torch.randn(3, 5, 3, 8)
    q, k, v = (
        layer(grid).flatten(1, 2).unflatten(-1, (2, 4)).transpose(1, 2)
        for layer, grid in ((attention.q, x), (attention.k, source), (attention.v, source))
    )
    mixed = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
    wanted = attention.proj(mixed.transpose(1, 2).reshape(x.shape))
    torch.testing.assert_close(attention(x, source), wanted)
