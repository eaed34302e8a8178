"""SAMUS: sizes, clips, temporal modules and conv plugins, and where they go."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.backbones.samus import SAMUS, TEMPORAL_POSITIONS
from echozoo.models.checkpoints import groups_of
from echozoo.registry import MODELS

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
TEMPORAL = {
    "TRA": TRA,
    "STAdapter": dict(type="STAdapter"),
    "TempAtt": dict(type="TempAtt", num_heads=2),
}
each_temporal = pytest.mark.parametrize("temporal", TEMPORAL.values(), ids=TEMPORAL)
each_position = pytest.mark.parametrize("position", TEMPORAL_POSITIONS)


def small(**changes) -> SAMUS:
    torch.manual_seed(0)
    return MODELS.build(dict(type="SAMUS", **SMALL | changes))


def awake(model: SAMUS) -> SAMUS:
    """Give the temporal modules, which start as identity, something to do."""
    for parameter in model.temporal.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize(
    ("temporal", "count"), [("TRA", 791_296), ("STAdapter", 592_512), ("TempAtt", 2_960_640)]
)
def test_published_sizes(temporal, count):
    with torch.device("meta"):
        plain, extended = SAMUS(), SAMUS(temporal=dict(type=temporal))
    assert sum(p.numel() for p in plain.parameters()) == 129_259_008
    assert sum(p.numel() for p in extended.parameters()) == 129_259_008 + 4 * count
    assert plain.blocks[2].attn.rel_pos_h.shape == (63, 64)


@each_temporal
def test_every_parameter_takes_part(temporal):
    plugins = [dict(type="MSFF", stages=(2,)), dict(type="LIA", stages=(0, 3))]
    model = awake(small(temporal=temporal, conv_plugins=plugins))
    model(torch.rand(4, 1, 32, 32), num_frames=2).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@each_temporal
@each_position
def test_temporal_modules_start_as_identity(temporal, position):
    images = torch.rand(2, 1, 32, 32)
    plain = small().eval()
    extended = small(temporal=temporal, temporal_position=position).eval()
    extended.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(extended(images, num_frames=2), plain(images))


@each_temporal
@each_position
@torch.no_grad()
def test_clips_do_not_see_each_other_but_their_frames_do(temporal, position):
    model = awake(small(temporal=temporal, temporal_position=position)).eval()
    clips = torch.rand(2, 3, 1, 32, 32)
    both = model(clips.flatten(0, 1), num_frames=3)
    alone = [model(clip, num_frames=3) for clip in clips]
    torch.testing.assert_close(both, torch.cat(alone), rtol=1e-4, atol=1e-5)
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


@each_temporal
@each_position
def test_recomputation_changes_nothing(temporal, position):
    settings = dict(
        temporal=temporal,
        temporal_position=position,
        conv_plugins=[dict(type="MSFF", stages=(2,)), dict(type="LIA", stages=(3,))],
    )
    models = [awake(small(**settings, with_cp=with_cp)) for with_cp in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
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
    every = small(temporal=TRA, temporal_position="before_attention", temporal_blocks="all")
    assert list(every.temporal) == ["0", "1", "2", "3"]
    chosen = small(temporal=TRA, temporal_position="before_mlp", temporal_blocks=(0, 3))
    assert list(chosen.temporal) == ["0", "3"]


@each_position
@pytest.mark.parametrize("with_cp", [False, True])
def test_what_a_module_sees_and_who_takes_what_it_gives(position, with_cp):
    """A hook on every part tells whose output, or what input, went into whom."""
    model = awake(small(temporal=TRA, temporal_position=position, with_cp=with_cp))
    shapes, given, taken = [], [], []

    def give(module, inputs, out):
        shapes.append((tuple(inputs[0].shape), inputs[1]))
        given.append(out.detach())

    for index, module in model.temporal.items():
        module.register_forward_hook(give)
        block = model.blocks[int(index)]
        taker, place = {
            "before_cross_attention": (block.cross_attn, 1),  # its source: the CNN's features
            "before_attention": (block.norm1, 0),
            "before_mlp": (block.norm2, 0),
        }[position]
        taker.register_forward_pre_hook(
            lambda _, inputs, place=place: taken.append(inputs[place].detach())
        )
    model(torch.rand(6, 1, 32, 32), num_frames=3)
    assert shapes == [((6, 4, 4, 16), 3)] * 2
    assert len(taken) == len(given) == 2
    for out, into in zip(given, taken, strict=True):
        assert torch.equal(out, into)


@torch.no_grad()
def test_before_cross_attention_the_exchange_stays_in_the_cnn_branch():
    model = awake(small(temporal=TRA)).eval()
    seen = []
    first = model.blocks[1]
    model.temporal["1"].register_forward_hook(lambda _, inputs, out: seen.append(out))
    first.refine.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    model(torch.rand(2, 1, 32, 32), num_frames=2)
    exchanged, refined = seen
    torch.testing.assert_close(refined.permute(0, 2, 3, 1), exchanged)


class TestConvPlugins:
    """Modules in the CNN branch: stages 0 to 3 of 4, 6, 8, 16 channels."""

    PLUGINS = (
        dict(type="MSFF", stages=(2,), dilations=(1, 2)),
        dict(type="LIA", stages=(0, 2, 3)),
    )

    def test_sizes_at_the_published_width(self):
        with torch.device("meta"):
            model = SAMUS(
                conv_plugins=[dict(type="MSFF", stages=(2,)), dict(type="LIA", stages=(0, 3))]
            )
        count = sum(p.numel() for p in model.conv_plugins.parameters())
        assert count == 1_902_848 + 1_688 + 56_904
        assert sum(p.numel() for p in model.parameters()) == 129_259_008 + count

    def test_names_and_order(self):
        model = small(conv_plugins=self.PLUGINS)
        names = {
            stage: [type(module).__name__ for module in modules]
            for stage, modules in model.conv_plugins.items()
        }
        assert names == {"0": ["LIA"], "2": ["MSFF", "LIA"], "3": ["LIA"]}
        assert model.conv_plugins["3"][0].encode.in_channels == 16

    def test_published_weights_have_all_but_the_plugins(self):
        model, plain = nn.Module(), small().state_dict()
        model.backbone = small(conv_plugins=self.PLUGINS)
        extended, group = model.backbone.state_dict(), groups_of(model)
        assert set(plain) < set(extended)
        added = {group(f"backbone.{key}") for key in extended if key not in plain}
        assert added == {"backbone.conv_plugins"}
        assert small(conv_plugins=self.PLUGINS).load_state_dict(plain, strict=False)[1] == []

    @torch.no_grad()
    def test_each_stage_goes_through_its_plugins_in_order(self):
        model = small(conv_plugins=self.PLUGINS).eval()
        branch, plugins = model.cnn_branch, model.conv_plugins
        images = torch.rand(2, 3, 32, 32)
        x = plugins["0"][0](branch.stem(images))
        x = branch.downs[1](F.max_pool2d(branch.downs[0](F.max_pool2d(x, 2)), 2))
        x = plugins["2"][1](plugins["2"][0](x))
        wanted = plugins["3"][0](branch.downs[2](F.max_pool2d(x, 2)))
        seen = []
        model.blocks[1].cross_attn.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[1])
        )
        model(images)
        torch.testing.assert_close(seen[0], wanted.permute(0, 2, 3, 1))

    @torch.no_grad()
    def test_frames_do_not_meet_in_them(self):
        model = small(conv_plugins=self.PLUGINS).eval()
        images = torch.rand(4, 1, 32, 32)
        alone = torch.cat([model(image[None]) for image in images])
        torch.testing.assert_close(model(images, num_frames=2), alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("stages", [(4,), (-1,), (), (0, 9), 2, None, "2"])
    def test_stages_that_are_not_there(self, stages):
        with pytest.raises(ConfigError, match=r"found stages=.* 'LIA', wants some of \(0, 1, 2, 3"):
            small(conv_plugins=[dict(type="LIA", stages=stages)])

    def test_a_plugin_without_stages(self):
        with pytest.raises(ConfigError, match="found stages=None"):
            small(conv_plugins=[dict(type="LIA")])


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
