"""TempAtt: sizes, torch's own attention as reference, and the table of time positions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.temporal.temp_att import TempAtt
from echozoo.registry import TEMPORAL_MODULES


def awake(**sizes) -> TempAtt:
    module = TempAtt(**dict(embed_dims=6, num_heads=2) | sizes)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize("time_positions", [0, 8])
def test_published_size(time_positions):
    cfg = dict(type="TempAtt", embed_dims=768, time_positions=time_positions)
    module = TEMPORAL_MODULES.build(cfg)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == 2_954_496 + time_positions * 768


def reference(module: TempAtt) -> nn.MultiheadAttention:
    """torch's attention with a module's weights."""
    attention = nn.MultiheadAttention(6, 2, batch_first=True)
    weights = dict(
        in_proj_weight=module.qkv.weight,
        in_proj_bias=module.qkv.bias,
        **{f"out_proj.{name}": value for name, value in module.proj.state_dict().items()},
    )
    attention.load_state_dict(weights)
    return attention


@torch.no_grad()
def test_equals_torchs_attention_over_the_frames_of_each_position():
    module = awake(time_positions=3)
    x = torch.randn(6, 4, 5, 6)
    wanted = x.clone()
    for clip in range(2):
        for row in range(4):
            for column in range(5):
                frames = x[3 * clip : 3 * clip + 3, row, column]  # T, C
                tokens = module.norm(frames) + module.time_table
                attended, _ = reference(module)(tokens[None], tokens[None], tokens[None])
                wanted[3 * clip : 3 * clip + 3, row, column] += module.fc(attended[0])
    torch.testing.assert_close(module(x, num_frames=3), wanted)


@torch.no_grad()
def test_without_positions_the_order_of_frames_does_not_matter():
    module = awake(time_positions=0)
    x = torch.randn(4, 3, 2, 6)
    order = torch.tensor([2, 0, 3, 1])
    permuted = module(x[order], num_frames=4)
    torch.testing.assert_close(permuted, module(x, num_frames=4)[order])


@pytest.mark.parametrize(
    ("num_frames", "rows"),
    [
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 2]),
        (4, [0, 0, 1, 2]),
        (6, [0, 0, 1, 1, 2, 2]),
    ],
)
@torch.no_grad()
def test_another_number_of_frames_takes_the_nearest_positions(num_frames, rows):
    short, exact = awake(time_positions=3), awake(time_positions=num_frames)
    exact.load_state_dict(short.state_dict() | {"time_table": short.time_table[rows]})
    x = torch.randn(num_frames, 2, 2, 6)
    torch.testing.assert_close(short(x, num_frames), exact(x, num_frames))


def test_heads_that_do_not_divide_the_channels():
    with pytest.raises(ConfigError, match="found num_heads=12, wants a divisor of embed_dims=64"):
        TempAtt(64)
