"""What every part of a kind keeps: shapes, single frames, batches, states, gradients, claims."""

from __future__ import annotations

import pytest
import torch
from parts import build, close
from torch import Tensor, nn

from echozoo.models.contracts import encode, sees, takes_frames
from echozoo.models.prompts import Features, Prompts

E, K, SIDE = 8, 2, 4


def state_survives(part: nn.Module, other: nn.Module) -> None:
    other.load_state_dict(part.state_dict())
    for name, value in other.state_dict().items():
        assert torch.equal(value, part.state_dict()[name]), name


def every_parameter_learns(part: nn.Module, *outputs: Tensor) -> None:
    sum((out * torch.randn_like(out)).sum() for out in outputs).backward()
    idle = [n for n, p in part.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


@pytest.mark.parametrize("frames", [1, 3])
def test_temporal_modules_keep_shapes_and_clips_apart(temporal, frames):
    part = build("temporal", temporal, embed_dims=E)
    clips = torch.randn(2, frames, SIDE, SIDE + 1, E)
    with torch.no_grad():
        both = part(clips.flatten(0, 1), num_frames=frames)
        alone = [part(clip, num_frames=frames) for clip in clips]
    assert both.shape == (2 * frames, SIDE, SIDE + 1, E)
    close(both, torch.cat(alone))


def test_temporal_modules_let_frames_see_each_other_and_learn(temporal):
    part = build("temporal", temporal, embed_dims=E)
    clip = torch.randn(3, SIDE, SIDE, E)
    other = clip.clone()
    other[2] = torch.randn(SIDE, SIDE, E)
    first, second = part(clip, num_frames=3), part(other, num_frames=3)
    assert (first[1] - second[1]).abs().max() > 1e-4
    every_parameter_learns(part, first)
    state_survives(part, build("temporal", temporal, embed_dims=E))


def test_temporal_modules_run_in_half_precision(temporal):
    part, clip = build("temporal", temporal, embed_dims=E), torch.randn(3, SIDE, SIDE, E)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(part(clip, num_frames=3).float()).all()


@torch.no_grad()
def test_encoders_are_what_they_say(encoder):
    part, channels = build("encoder", encoder), 3
    size = getattr(part, "img_size", 64)
    images = torch.rand(6, channels, size, size)
    features = Features.of(encode(part, images, 3), 3)
    assert len(features) == 6
    if hasattr(part, "out_channels"):
        stride = part.stride
        assert features.embedding.shape == (6, part.out_channels, size // stride, size // stride)
    if takes_frames(part):
        assert part.sees in ("frame", "clip")
    # Clips never see each other; frames of a clip do where it says so.
    for found, wanted in zip(
        features.maps, Features.of(encode(part, images[3:], 3)).maps, strict=True
    ):
        close(found[3:], wanted)
    other = images.clone()
    other[2] = other[2].flip(-1)
    changed = Features.of(encode(part, other, 3)).embedding[:2] - features.embedding[:2]
    claim = "clip" if getattr(part, "sees", "frame") == "clip" else sees(part)
    assert (changed.abs().max() > 1e-6) == (claim == "clip")
    # One frame is a clip too.
    assert len(Features.of(encode(part, images[:1], 1))) == 1


def test_encoders_learn_and_are_saved(encoder):
    part = build("encoder", encoder)
    size = getattr(part, "img_size", 64)
    maps = Features.of(encode(part, torch.rand(4, 3, size, size), 2)).maps
    every_parameter_learns(part, *maps)
    state_survives(part, build("encoder", encoder))


def test_necks_keep_shapes_and_images_apart(neck):
    part = build("neck", neck)
    maps = torch.rand(2, 8, 12, 16)
    with torch.no_grad():
        both = part(maps)
        close(both, torch.cat([part(maps[:1]), part(maps[1:])]))
    assert both.shape == maps.shape
    every_parameter_learns(part, part(maps))
    state_survives(part, build("neck", neck))


def given(part: nn.Module) -> Prompts:
    """Prompts of the kinds that a head wants, for two images and K structures."""
    made = dict(
        points=dict(points=torch.rand(2, K, 2, 2) * 8 * SIDE, labels=torch.ones(2, K, 2)),
        boxes=dict(boxes=torch.rand(2, K, 4) * 8 * SIDE),
        masks=dict(masks=torch.randn(2, K, 4 * SIDE, 4 * SIDE)),
        text=dict(text=("lv", "myo")),
    )
    fields: dict = {}
    for kind in part.kinds:
        fields |= made.get(kind) or dict(extra={kind: torch.rand(2, K)})
    return Prompts(**fields)


@torch.no_grad()
def test_prompt_heads_embed_what_they_ask_for(head):
    part = build("head", head, embed_dims=E, img_size=8 * SIDE, embedding_size=SIDE)
    features, tokens = Features.of(torch.randn(2, E, SIDE, SIDE)), torch.randn(5, E)
    sparse, dense, seen = part.embed(features, given(part), tokens)
    assert sparse.shape[:2] == dense.shape[:2] == (2, K)
    assert sparse.shape[3] == E
    assert dense.shape[2:] == (E, SIDE, SIDE)
    assert seen.size == (SIDE, SIDE)
    assert part.dense_pe((SIDE, SIDE)).shape == (1, E, SIDE, SIDE)
    torch.manual_seed(0)
    whole = part.embed(features, given(part), tokens)[0]
    torch.manual_seed(0)
    prompts = given(part)
    first = {
        name: getattr(prompts, name)[:1]
        for name in ("points", "labels", "boxes", "masks")
        if getattr(prompts, name) is not None
    }
    extra = {kind: value[:1] for kind, value in prompts.extra.items()}
    one = Prompts(**first, text=prompts.text, extra=extra)
    close(part.embed(features[:1], one, tokens)[0], whole[:1])


@torch.no_grad()
def test_decoders_give_masks_and_quality(decoder):
    part = build("decoder", decoder, embed_dims=E)
    features, pe = Features.of(torch.randn(2, E, SIDE, SIDE)), torch.randn(1, E, SIDE, SIDE)
    sparse, dense = torch.randn(2, K, 3, E), torch.randn(2, K, E, SIDE, SIDE)
    logits, quality = part(features, pe, sparse, dense)
    assert logits.shape[:2] == quality.shape[:2] == (2, K)
    assert logits.shape[2] == quality.shape[2]
    assert part.output_tokens().shape[1] == E
    alone = part(features[1:], pe, sparse[1:, 1:], dense[1:, 1:])
    for found, wanted in zip((logits, quality), alone, strict=True):
        close(found[1:, 1:], wanted)
    part(features, pe, sparse[:, :, :0], dense)  # no sparse prompt is legal


def test_adapters_keep_names_learn_and_merge(adapter):
    layer, x = nn.Linear(E, 2 * E), torch.randn(3, E)
    wanted, names = layer(x).detach(), set(layer.state_dict())
    part = build("adapter", adapter, layer=layer)
    own = {n for n, _ in part.named_parameters() if n.split(".")[0] in part.adapter_names()}
    assert set(part.state_dict()) - own == names
    assert own
    every_parameter_learns(part, part(x))
    assert (part(x) - wanted).abs().max() > 1e-3
    if hasattr(part, "merge"):
        merged = part.merge()
        assert set(merged.state_dict()) == names
        close(merged(x), part(x))


def test_losses_count_what_is_labelled_alone(loss):
    part = build("loss", loss)
    logits, masks = torch.randn(4, K, SIDE, SIDE), torch.rand(4, K, SIDE, SIDE).round()
    labelled = torch.ones(4, K, dtype=torch.bool)
    labelled[2:] = False
    wanted = part(logits[:2], masks[:2], None)
    spoilt = masks.clone()
    spoilt[2:] = torch.nan
    logits.requires_grad_()
    found = part(logits, spoilt, labelled)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        close(value, wanted[name])
    sum(found.values()).backward()
    assert (logits.grad[2:] == 0).all()
    assert logits.grad[:2].abs().max() > 0
