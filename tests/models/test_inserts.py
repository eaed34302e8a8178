"""Temporal modules in encoders of all kinds."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.checkpoints import load_published
from echozoo.models.passes.fast_cpu import make_fast
from echozoo.registry import MODELS

SIZE = 64
VIT = dict(embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=2)
ENCODERS = {
    "SAMViT": (
        dict(type="SAMViT", img_size=SIZE, patch_size=16, out_channels=16, **VIT),
        dict(at="blocks.*", when="before_attention"),
    ),
    "SAMUS": (
        dict(
            type="SAMUS", img_size=SIZE, pos_embed_size=8, conv_channels=(4, 4, 4),
            out_channels=16, **VIT,
        ),
        dict(at="blocks.1", when="before_cross_attention"),
    ),
    "TinyViT": (
        dict(
            type="TinyViT", embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1),
            num_heads=(1, 1, 2, 2), out_channels=16,
        ),
        dict(at="layers.*.blocks.*", when="before_mlp"),
    ),
    "UNet": (
        dict(
            type="UNet", in_channels=1, base_channels=4, norm_cfg=dict(type="BN"),
        ),
        dict(at="encoder.4", when="after"),
    ),
}  # fmt: skip
everyone = pytest.mark.parametrize("name", ENCODERS)


def build(name: str, temporal: str | None = "TRA", **changed) -> nn.Module:
    init_default_scope("echozoo")
    torch.manual_seed(0)
    backbone, place = ENCODERS[name]
    inserts = [dict(type=temporal, **(place | changed))] if temporal else []
    if name == "UNet":
        head = dict(
            type="FCNHead", in_channels=4, in_index=4, channels=4, num_convs=1, num_classes=4,
            norm_cfg=dict(type="BN"),
        )  # fmt: skip
        cfg = dict(type="ClipEncoderDecoder", decode_head=head)
    else:
        head = dict(type="APG", num_task_tokens=2, num_heads=1, head_dims=4, ffn_dims=8)
        decoder = dict(type="SAMMaskDecoder", num_heads=2, mlp_dims=8)
        cfg = dict(type="PromptableSegmentor", prompt_head=head, decoder=decoder)
    return MODELS.build(cfg | dict(backbone=backbone | dict(inserts=inserts))).eval()


def wake(model: nn.Module) -> nn.Module:
    """Away from the start, where the modules are identity."""
    for parameter in model.backbone.inserts.parameters():
        nn.init.normal_(parameter)
    return model


@everyone
@torch.no_grad()
def test_frames_see_each_other_and_clips_do_not(name):
    model, clips = wake(build(name)), torch.rand(2, 3, 1, SIZE, SIZE)
    both = model(clips)
    assert model.sees == model.backbone.sees == "clip"
    torch.testing.assert_close(both, torch.cat([model(clip[None]) for clip in clips]))
    single = model(clips.flatten(0, 1)[:, None])  # clips of one frame
    assert not torch.allclose(single, both, atol=1e-4)


@everyone
@torch.no_grad()
def test_a_model_starts_as_the_one_without(name):
    plain, model = build(name, None), build(name)
    own = {key for key in model.state_dict() if ".inserts." in key}
    assert own
    assert set(model.state_dict()) - own == set(plain.state_dict())
    report = load_published(model, plain.state_dict())
    assert set(report.left) == own
    clips = torch.rand(1, 2, 1, SIZE, SIZE)
    torch.testing.assert_close(model(clips), plain(clips))


@everyone
def test_inserts_learn(name):
    model = wake(build(name)).train()
    model(torch.rand(1, 2, 1, SIZE, SIZE)).square().mean().backward()
    assert all(p.grad.abs().max() > 0 for p in model.backbone.inserts.parameters())


@torch.no_grad()
def test_what_is_quick_on_a_cpu_does_not_pass_them_by():
    model, clips = wake(build("TinyViT")), torch.rand(1, 3, 1, SIZE, SIZE)
    wanted = model(clips)
    torch.testing.assert_close(make_fast(model)(clips), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["SAMUS", "SAMViT"])
@torch.no_grad()
def test_a_compiled_encoder_follows_the_length_of_the_clips(name):
    model = wake(build(name))
    clips = [torch.rand(1, frames, 1, SIZE, SIZE) for frames in (1, 3, 1)]
    wanted = [model(clip) for clip in clips]
    model.backbone.forward = torch.compile(model.backbone.forward, backend="eager", dynamic=False)
    for clip, masks in zip(clips, wanted, strict=True):
        torch.testing.assert_close(model(clip), masks)


@pytest.mark.parametrize("when", ["before_attention", "inside"])
def test_recomputation_counts_a_batch_once_with_the_frames_that_it_had(when):
    place = dict(at="blocks.*", when=when) if when != "inside" else dict(at="blocks.*.mlp")
    plain, again = (wake(build("SAMUS", **({"when": "after"} | place))).train() for _ in range(2))
    again.backbone.with_cp = True
    images, others = torch.rand(4, 1, SIZE, SIZE), torch.rand(3, 1, SIZE, SIZE)
    for model in (plain, again):
        losses = [model.backbone(images, num_frames=2), model.backbone(others, num_frames=3)]
        sum(one.square().mean() for one in losses).backward()
    for (name, one), other in zip(
        plain.backbone.named_parameters(), again.backbone.parameters(), strict=True
    ):
        torch.testing.assert_close(other.grad, one.grad, msg=name)
    buffers = [dict(model.backbone.named_buffers()) for model in (plain, again)]
    assert any("running_mean" in name for name in buffers[0])
    torch.testing.assert_close(*buffers)


def test_a_block_of_mmseg_that_is_recomputed_takes_none():
    encoder, _ = ENCODERS["UNet"]
    encoder["with_cp"] = True
    try:
        build("UNet")  # around the blocks
        with pytest.raises(ConfigError, match=r"encoder.0.0.convs lies in encoder.0.0, .*with_cp="):
            build("UNet", at="encoder.0.0.convs")
    finally:
        del encoder["with_cp"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (dict(at="blocks.7"), "blocks.7.before_attention.*matches no module"),
        (dict(when="before_lunch"), "before_lunch"),
        (dict(at="blocks.0.attn", when="before", layout="nlc"), "layout='nlc'"),
        (dict(at=None), "has no at"),
    ],
)
def test_a_place_that_is_not_there_is_refused(changed, words):
    with pytest.raises(ConfigError, match=words):
        build("SAMViT", **changed)


def test_a_place_that_nothing_passes_is_refused():
    with pytest.raises(ConfigError, match="blocks.0.*no tensor"):
        build("SAMUS", at="blocks.0", when="before")  # SAMUS calls the halves of its blocks
