"""CE-Net's context extractor: recorded outputs, the formula branch by branch, sizes, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.necks.context_extractor import ContextExtractor, DACBlock, RMPBlock

# The published names: the recorded outputs' weights follow from their lengths.
DAC_NAMES = {"near": "dilate1", "middle": "dilate2", "far": "dilate3", "project": "conv1x1"}


def sine_fill(module: nn.Module, published: Callable[[str], str] = str) -> nn.Module:
    for name, value in module.state_dict().items():
        index = torch.arange(value.numel(), dtype=torch.float64)
        value.copy_(0.05 * torch.sin(0.7 * index + 0.1 * len(published(name))).view(value.shape))
    return module


def sine_map() -> Tensor:
    ramp = torch.arange(16, dtype=torch.float64)
    wave = 0.5 + 0.5 * torch.sin(0.05 * ramp + 0.03 * ramp[:, None])
    return wave.float().expand(1, 8, 16, 16)


def check(value: Tensor, *wanted: float) -> None:
    """Compare mean, deviation, first, middle and last value."""
    flat = value.detach().flatten().double()
    found = [flat.mean(), flat.std(), flat[0], flat[len(flat) // 2], flat[-1]]
    assert found == pytest.approx(wanted, rel=2e-5, abs=1e-6)


def test_dac_gives_the_recorded_output():
    def published(name: str) -> str:
        conv, kind = name.split(".")
        return f"{DAC_NAMES[conv]}.{kind}"

    check(sine_fill(DACBlock(8), published)(sine_map()), 0.841748, 0.146119, 0.645858, 0.5, 0.96602)


def test_rmp_gives_the_recorded_output():
    check(sine_fill(RMPBlock(8))(sine_map()), 0.522735, 0.363898, 0.0286915, 0.5, 0.96602)


@torch.no_grad()
def test_dac_is_its_formula():
    block, x = DACBlock(3), torch.randn(2, 3, 12, 14)

    def conv(layer: nn.Conv2d, dilation: int) -> Callable[[Tensor], Tensor]:
        padding = dilation if layer.weight.shape[-1] == 3 else 0
        return lambda x: F.conv2d(x, layer.weight, None, padding=padding, dilation=dilation)

    a, b, c = conv(block.near, 1), conv(block.middle, 3), conv(block.far, 5)
    p = conv(block.project, 1)
    wanted = x + F.relu(a(x)) + F.relu(p(b(x))) + F.relu(p(b(a(x)))) + F.relu(p(c(b(a(x)))))
    torch.testing.assert_close(block(x), wanted)  # without biases: they begin at zero


@torch.no_grad()
def test_rmp_puts_the_pools_before_the_map():
    block = RMPBlock(2, pool_sizes=(2, 3))
    nn.init.ones_(block.conv.weight)
    nn.init.zeros_(block.conv.bias)
    x = torch.full((1, 2, 6, 6), 0.5)
    x[0, :, 0, 0] = 3.0
    out = block(x)
    assert out.shape == (1, 4, 6, 6)
    torch.testing.assert_close(out[:, 2:], x)
    assert out[0, 0, 0, 0] == out[0, 1, 0, 0] == 6, "the maxima of both channels, summed"
    assert out[0, 0, 5, 5] == out[0, 1, 5, 5] == 1
    assert out[0, 0, 0, 3] < out[0, 1, 0, 3], "the larger cell reaches further"


def test_sizes():
    neck = ContextExtractor()
    assert sum(p.numel() for p in neck.dac.parameters()) == 7_342_080
    assert sum(p.numel() for p in neck.rmp.parameters()) == 513


def test_only_the_last_map_changes():
    neck = ContextExtractor(in_channels=4, pool_sizes=(1, 2))
    maps = torch.randn(1, 2, 6, 8), torch.randn(1, 4, 3, 4)
    first, last = neck(maps)
    assert first is maps[0]
    assert last.shape == (1, 6, 3, 4)


def test_a_map_below_the_largest_cell_names_the_least_image():
    neck = ContextExtractor(in_channels=4)
    with pytest.raises(ConfigError, match="map of 8 x 5.*192 px or more.*smaller pool_sizes"):
        neck([torch.randn(1, 4, 8, 5)])
