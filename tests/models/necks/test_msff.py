"""MSFF: sizes, the formula written out, and how far it sees."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.necks.msff import MSFF
from echozoo.registry import MODELS


def awake(*channels, **settings) -> MSFF:
    module = MSFF(*channels, **settings).eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            nn.init.normal_(value, std=0.3) if value.dim() > 1 else nn.init.uniform_(value, 0.5, 1)
    return module


@pytest.mark.parametrize(
    ("in_channels", "out_channels", "count"),
    [
        (128, None, 476_288),
        (256, None, 1_902_848),
        (768, 256, 2_164_992),
        (768, None, 17_111_808),
    ],
)
def test_published_sizes(in_channels, out_channels, count):
    cfg = dict(type="MSFF", in_channels=in_channels, out_channels=out_channels)
    with torch.device("meta"):
        module = MODELS.build(cfg)
    assert sum(parameter.numel() for parameter in module.parameters()) == count


def normed(block: nn.Sequential, x: torch.Tensor, dilation: int = 1) -> torch.Tensor:
    """A block's convolution and batch norm as plain arithmetic."""
    conv, norm = block[:2]
    out = F.conv2d(x, conv.weight, padding=dilation * (conv.kernel_size[0] // 2), dilation=dilation)
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    shift = norm.bias - norm.running_mean * scale
    return out * scale[:, None, None] + shift[:, None, None]


@pytest.mark.parametrize(("act_cfg", "act"), [(None, nn.Identity()), (dict(type="ReLU"), F.relu)])
@torch.no_grad()
def test_equals_the_formula(act_cfg, act):
    module = awake(4, 6, act_cfg=act_cfg)
    x = torch.randn(2, 4, 40, 44)
    s = F.conv2d(x, module.squeeze.weight, module.squeeze.bias)
    x1 = act(normed(module.chain[0], s, 6))
    x2 = act(normed(module.chain[1], s + x1, 12))
    x3 = act(normed(module.chain[2], s + x2, 18))
    wanted = F.relu(act(normed(module.direct, x)) + x3)
    torch.testing.assert_close(module(x), wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_with_silent_branches_only_the_direct_one_is_left():
    module = awake(4, 6)
    for value in module.chain.state_dict().values():
        value.zero_()
    x = torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(module(x), F.relu(normed(module.direct, x)))


@pytest.mark.parametrize(("dilations", "reach"), [((6, 12, 18), 36), ((1, 2), 3)])
def test_receptive_field(dilations, reach):
    module = awake(2, dilations=dilations)
    nn.init.constant_(module.direct[1].bias, 100.0)  # so that the last ReLU lets all through
    x = torch.randn(1, 2, 2 * reach + 9, 2 * reach + 5, requires_grad=True)
    height, width = x.shape[2:]
    module(x)[..., height // 2, width // 2].sum().backward()
    rows, columns = (x.grad.abs().sum(1)[0] > 0).nonzero().T
    for place, size in ((rows, height), (columns, width)):
        assert (place.min(), place.max()) == (size // 2 - reach, size // 2 + reach)


@pytest.mark.parametrize("dilations", [(), (6, 0)])
def test_dilations_that_cannot_be(dilations):
    with pytest.raises(ConfigError, match="wants one or more, from 1 up"):
        MSFF(4, dilations=dilations)
