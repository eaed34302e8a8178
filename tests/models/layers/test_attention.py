"""Attention: both ways of adding the positions agree with the formula and with each other."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from echozoo.models.layers.attention import CrossAttention, GridAttention


def pair(size: int, heads: int = 2) -> tuple[GridAttention, Attention]:
    ours = GridAttention(8, heads, size)
    for table in (ours.rel_pos_h, ours.rel_pos_w):
        torch.nn.init.normal_(table)
    theirs = Attention(8, heads, use_rel_pos=True, input_size=(size, size))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (6, 4)])
def test_equals_sam_with_and_without_gradients(shape):
    ours, theirs = pair(4)
    x = torch.randn(2, *shape, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
    outs, grads = [], []
    for attention in (ours, theirs):
        leaf = x.clone().requires_grad_()
        out = attention(leaf)
        out.square().sum().backward()
        outs.append(out)
        grads.append([leaf.grad, *(p.grad for _, p in sorted(attention.named_parameters()))])
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


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
