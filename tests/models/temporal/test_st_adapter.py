"""STAdapter: sizes, and the formula written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.temporal.st_adapter import STAdapter
from echozoo.registry import TEMPORAL_MODULES


def awake(**sizes) -> STAdapter:
    module = STAdapter(embed_dims=6, **sizes)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


@pytest.mark.parametrize(("bottleneck", "count"), [(None, 592_512), (384, 592_512), (192, 296_640)])
def test_published_size(bottleneck, count):
    module = TEMPORAL_MODULES.build(dict(type="STAdapter", embed_dims=768, bottleneck=bottleneck))
    assert sum(parameter.numel() for parameter in module.parameters()) == count


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_equals_the_formula(kernel_size):
    module = awake(bottleneck=4, kernel_size=kernel_size)
    x = torch.randn(10, 2, 3, 6)
    clips = x.view(2, 5, 2, 3, 6)
    down = clips @ module.down.weight.T + module.down.bias
    reach = kernel_size // 2
    mixed = module.mix.bias.expand_as(down).clone()
    for t in range(5):
        for step in range(-reach, reach + 1):
            if 0 <= t + step < 5:
                mixed[:, t] += module.mix.weight[:, 0, reach + step, 0] * down[:, t + step]
    wanted = clips + mixed @ module.up.weight.T + module.up.bias
    torch.testing.assert_close(module(x, num_frames=5), wanted.view(x.shape))


def test_starts_with_a_silent_convolution():
    module = STAdapter(6)
    zeros = {name for name, parameter in module.named_parameters() if not parameter.any()}
    assert zeros == {"down.bias", "mix.weight", "mix.bias", "up.bias"}


def test_an_even_kernel():
    with pytest.raises(ConfigError, match="found kernel_size=4, wants an odd number"):
        STAdapter(6, kernel_size=4)
