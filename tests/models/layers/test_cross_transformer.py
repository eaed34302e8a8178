from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from echozoo.models.layers.cross_transformer import (
    CrossTransformer,
    PlainCoupling,
    ResidualCoupling,
    TokenAttention,
    softmax_one,
)

C, HEADS, DIMS, HIDDEN = 12, 3, 5, 20
X, Y = 4, 7


def attention(module: TokenAttention, x: Tensor, source: Tensor, one: float) -> Tensor:
    """Head by head and token by token; ``one`` is what joins the sum of a row's exponentials."""
    inner = HEADS * DIMS
    q, k, v = x @ module.q.weight.T, *(source @ module.kv.weight.T).split(inner, -1)
    heads = []
    for head in range(HEADS):
        mine = slice(head * DIMS, (head + 1) * DIMS)
        rows = []
        for query in q[:, mine]:
            logits = k[:, mine] @ query / DIMS**0.5
            exponentials = torch.exp(logits - logits.max())
            rows.append(exponentials / (one + exponentials.sum()) @ v[:, mine])
        heads.append(torch.stack(rows))
    return torch.cat(heads, -1)


def test_softmax_one_by_hand():
    weights = softmax_one(torch.tensor([[0.0, 0.0, 0.0], [100.0, 0.0, 100.0]]))
    torch.testing.assert_close(weights[0], torch.full((3,), 1 / 4))
    torch.testing.assert_close(weights[1], torch.tensor([1 / 3, 0.0, 1 / 3]))


def test_softmax_one_adds_up_to_half_or_more():
    weights = softmax_one(10 * torch.randn(50, 9))
    assert weights.sum(-1).min() >= 0.5
    assert weights.sum(-1).max() <= 9 / 10


@pytest.mark.parametrize(("leaky", "one"), [(True, 1.0), (False, 0.0)])
@torch.no_grad()
def test_attention_head_by_head(leaky, one):
    module = TokenAttention(C, HEADS, DIMS, leaky)
    x, source = 3 * torch.randn(2, X, C), 3 * torch.randn(2, Y, C)
    wanted = torch.stack([attention(module, x[i], source[i], one) for i in range(2)])
    torch.testing.assert_close(module(x, source), wanted)


@torch.no_grad()
def test_a_plain_coupling_is_its_attention_and_an_mlp():
    module = PlainCoupling(C, HEADS, DIMS, HIDDEN)
    x, source = torch.randn(X, C), torch.randn(Y, C)
    first, _, last = module.mlp
    wanted = last(first(attention(module.attn, x, source, 0.0)).clamp(min=0))
    torch.testing.assert_close(module(x[None], source[None])[0], wanted)


@torch.no_grad()
def test_a_residual_coupling_norms_both_sides_first():
    module = ResidualCoupling(C, HEADS, DIMS, HIDDEN)
    for norm in (module.norm_x, module.norm_source, module.norm_mlp):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x, source = torch.randn(X, C), torch.randn(Y, C)
    found = attention(module.attn, module.norm_x(x), module.norm_source(source), 1.0)
    wanted = x + module.out(found)
    first, _, last = module.mlp
    wanted = wanted + last(first(module.norm_mlp(wanted)).clamp(min=0))
    torch.testing.assert_close(module(x[None], source[None])[0], wanted)


class Sum(nn.Module):
    """A coupling whose numbers can be followed."""

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return x + 10 * source


@pytest.mark.parametrize(
    ("depth", "last_both", "wanted"),
    [
        (1, True, (21.0, 12.0)),
        (1, False, (21.0, 2.0)),
        (2, True, (141, 222)),
        (2, False, (141, 12)),
    ],
)
def test_both_sets_read_the_values_from_before_the_layer(depth, last_both, wanted):
    transformer = CrossTransformer(Sum, depth, last_both)
    found = transformer(torch.tensor([[[1.0]]]), torch.tensor([[[2.0]]]))
    assert tuple(value.item() for value in found) == wanted
