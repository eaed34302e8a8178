"""SAMUS: sizes, clips, temporal modules and where they go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.backbones.samus import SAMUS, TEMPORAL_POSITIONS
from echozoo.registry import MODELS, TEMPORAL_MODULES

SMALL = dict(
    embed_dims=16,
    depth=4,
    num_heads=2,
    global_attn_indexes=(1, 3),
    img_size=32,
    pos_embed_size=8,
    conv_channels=(4, 6, 8),
    window_size=3,
    out_channels=8,
)
TRA = dict(type="TRA")


def small(**changes) -> SAMUS:
    torch.manual_seed(0)
    return MODELS.build(dict(type="SAMUS", **SMALL | changes))


def awake(model: SAMUS) -> SAMUS:
    """Give the temporal modules, which start as identity, something to do."""
    for name, parameter in model.temporal.named_parameters():
        if "expand" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


def test_published_sizes():
    with torch.device("meta"):
        plain, temporal = SAMUS(), SAMUS(temporal=TRA)
    assert sum(p.numel() for p in plain.parameters()) == 129_259_008
    assert sum(p.numel() for p in temporal.parameters()) == 129_259_008 + 4 * 791_296
    assert plain.blocks[2].attn.rel_pos_h.shape == (63, 64)


def test_every_parameter_takes_part():
    model = awake(small(temporal=TRA))
    model(torch.rand(4, 1, 32, 32), num_frames=2).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_temporal_modules_start_as_identity():
    images = torch.rand(2, 1, 32, 32)
    plain, temporal = small().eval(), small(temporal=TRA).eval()
    temporal.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(temporal(images, num_frames=2), plain(images))


@pytest.mark.parametrize("position", TEMPORAL_POSITIONS)
@torch.no_grad()
def test_clips_do_not_see_each_other_but_their_frames_do(position):
    model = awake(small(temporal=TRA, temporal_position=position)).eval()
    clips = torch.rand(2, 3, 1, 32, 32)
    both = model(clips.flatten(0, 1), num_frames=3)
    alone = [model(clip, num_frames=3) for clip in clips]
    torch.testing.assert_close(both, torch.cat(alone))
    assert not torch.allclose(both[:3], model(clips[0]), atol=1e-4)  # each frame as a clip
    swapped = model(clips[0].flip(0), num_frames=3).flip(0)
    assert not torch.allclose(both[:3], swapped, atol=1e-4)


@torch.no_grad()
def test_other_input_sizes():
    model = small(temporal=TRA).eval()
    assert model(torch.rand(2, 3, 48, 64), num_frames=2).shape == (2, 8, 6, 8)


@pytest.mark.parametrize(("table", "stages"), [(4, 0), (8, 1), (16, 2)])
def test_position_table_of_other_sizes(table, stages):
    model = small(pos_embed_size=table)
    assert len(model.pos_adapter.downs) == stages
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 8, 4, 4)


def test_recomputation_changes_nothing():
    models = [awake(small(temporal=TRA, with_cp=with_cp)) for with_cp in (False, True)]
    images = torch.rand(4, 1, 32, 32)
    for model in models:
        model(images, num_frames=2).square().sum().backward()
    plain, recomputed = (dict(model.named_parameters()) for model in models)
    for name, parameter in plain.items():
        torch.testing.assert_close(recomputed[name].grad, parameter.grad)
    buffers = [dict(model.named_buffers()) for model in models]
    torch.testing.assert_close(*buffers)  # batch norm has seen the batch once


def test_modules_go_where_they_are_told():
    assert list(small(temporal=TRA).temporal) == ["1", "3"]
    chosen = small(temporal=TRA, temporal_position="before_mlp", temporal_blocks=(0, 3))
    assert list(chosen.temporal) == ["0", "3"]


def test_what_a_module_sees():
    seen = []

    class Spy(nn.Module):
        def __init__(self, embed_dims: int) -> None:
            super().__init__()

        def forward(self, x, num_frames):
            seen.append((tuple(x.shape), num_frames))
            return x

    TEMPORAL_MODULES.register_module(name="Spy", module=Spy)
    try:
        model = small(temporal=dict(type="Spy"))
    finally:
        TEMPORAL_MODULES.module_dict.pop("Spy")
    model(torch.rand(6, 1, 32, 32), num_frames=3)
    assert seen == [((6, 4, 4, 16), 3)] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(conv_channels=(4, 6, 8, 16)), "found 4 conv_channels"),
        (dict(pos_embed_size=6), "found pos_embed_size=6, wants 1, 2, 4 ... times the 4 tokens"),
        (dict(pos_embed_size=2), "found pos_embed_size=2, wants"),
        (dict(temporal=TRA, temporal_position="after"), "temporal_position='after', wants one of"),
        (
            dict(temporal=TRA, temporal_blocks=(0,)),
            r"temporal_blocks=\(0,\), wants some of \(1, 3\)",
        ),
    ],
)
def test_sizes_that_do_not_fit(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)
