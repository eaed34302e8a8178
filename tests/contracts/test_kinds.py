"""What the parts of one kind keep: shapes, claims about sight, what a memory's state can do."""

from __future__ import annotations

import io

import torch
from calls import SIDE, E, K, Neck
from parts import Case, close
from torch import nn

from echozoo.models.contracts import sees, takes_frames


@torch.no_grad()
def test_temporal_modules_let_the_frames_of_a_clip_see_each_other(temporal: Case) -> None:
    part = temporal.build()
    inputs = temporal.inputs(part)
    before = temporal.call(part, inputs)[0]
    assert before.shape == inputs["x"].shape
    inputs["x"][:, 1] = torch.randn_like(inputs["x"][:, 1])
    after = temporal.call(part, inputs)[0]
    assert (before[:, ::2] - after[:, ::2]).abs().max() > 1e-4


@torch.no_grad()
def test_encoders_are_what_they_say(encoder: Case) -> None:
    part = encoder.build()
    inputs = encoder.inputs(part)
    maps = encoder.call(part, inputs)
    height, width = inputs["images"].shape[-2:]
    if hasattr(part, "out_channels"):
        wanted = (part.out_channels, height // part.stride, width // part.stride)
        assert maps[-1].shape[2:] == wanted
    if takes_frames(part):
        assert part.sees in ("frame", "clip")
    inputs["images"][:, 1] = inputs["images"][:, 1].flip(-1)
    changed = (encoder.call(part, inputs)[-1] - maps[-1])[:, ::2]
    claim = "clip" if getattr(part, "sees", "frame") == "clip" else sees(part)
    assert (changed.abs().max() > 1e-6) == (claim == "clip")


@torch.no_grad()
def test_necks_keep_the_grids_of_maps(neck: Case) -> None:
    part = neck.build()
    maps = list(neck.inputs(part).values())
    found = neck.call(part, neck.inputs(part))
    if not Neck.takes_maps(part):
        assert found[0].shape == maps[-1].shape, "head and decoder are as wide as the encoder"
    for one, wanted in zip(reversed(found), reversed(maps), strict=False):
        assert one.shape[-2:] == wanted.shape[-2:]


@torch.no_grad()
def test_prompt_heads_embed_what_they_ask_for(head: Case) -> None:
    part = head.build()
    sparse, dense, seen, pe = head.call(part, head.inputs(part))
    assert sparse.shape[:3] == dense.shape[:3] == (2, 3, K)
    assert sparse.shape[4] == E
    assert dense.shape[3:] == (E, SIDE, SIDE)
    assert seen.shape[-2:] == (SIDE, SIDE)
    assert pe.shape == (2, E, SIDE, SIDE)
    assert part.embed_dims == E
    assert part.stride == 8


@torch.no_grad()
def test_decoders_decode_each_structure_alone(decoder: Case) -> None:
    part = decoder.build()
    inputs = decoder.inputs(part)
    logits, *quality = decoder.call(part, inputs)
    assert logits.shape[:3] == (2, 3, K)
    assert all(one.shape == logits.shape[:4] for one in quality)
    tokens = part.output_tokens()
    assert tokens is None or tokens.shape[1] == E
    last = {n: v[:, :, 1:] if n in ("sparse", "dense") else v for n, v in inputs.items()}
    close(decoder.call(part, last)[0], logits[:, :, 1:])
    inputs["sparse"] = inputs["sparse"][..., :0, :]
    assert decoder.call(part, inputs)[0].shape == logits.shape, "no sparse prompt is legal"


@torch.no_grad()
def test_decode_heads_give_a_logit_a_class(decode_head: Case) -> None:
    part = decode_head.build()
    (logits,) = decode_head.call(part, decode_head.inputs(part))
    assert logits.shape[:3] == (2, 3, K + 1)
    assert logits.shape[-1] == logits.shape[-2] >= SIDE * 4


def test_adapters_keep_names_and_merge(adapter: Case) -> None:
    part, other = adapter.build(), adapter.build()
    inputs = adapter.inputs(part)
    layer = adapter.of.given(adapter.part)["layer"]
    names = set(layer.state_dict())
    own = {n for n in part.state_dict() if n.split(".")[0] in part.adapter_names()}
    assert set(part.state_dict()) - own == names
    assert own
    layer.load_state_dict({name: part.state_dict()[name] for name in names})
    wanted = adapter.call(part, inputs)[0]
    assert (wanted - layer(inputs["x"])).abs().max() > 1e-3
    if hasattr(part, "merge"):
        other.load_state_dict(part.state_dict())
        merged = other.merge()
        assert type(merged) is type(part).replaces
        assert set(merged.state_dict()) == names
        close(merged(inputs["x"]), wanted)


def test_losses_count_what_is_labelled_alone(loss: Case) -> None:
    part = loss.build()
    logits, masks = torch.randn(4, K, SIDE, SIDE), torch.rand(4, K, SIDE, SIDE).round()
    labelled = torch.ones(4, K, dtype=torch.bool)
    labelled[2:] = False
    wanted = part(logits[:2], masks[:2], None)
    masks[2:] = 255
    logits.requires_grad_()
    found = part(logits, masks, labelled)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert name.startswith("loss"), "others are not summed"
        close(value, wanted[name])
    sum(found.values()).backward()
    assert (logits.grad[2:] == 0).all()
    assert logits.grad[:2].abs().max() > 0
    nothing = part(logits.detach(), masks, torch.zeros_like(labelled))
    assert all(value == 0 for value in nothing.values())


def test_losses_of_label_maps_want_the_right_class(map_loss: Case) -> None:
    part = map_loss.build()
    labels = torch.randint(0, K + 1, (2, SIDE, SIDE))
    right = 20 * nn.functional.one_hot(labels, K + 1).movedim(-1, 1).float() - 10
    few = labels.clamp(max=K - 1)  # a structure that is absent
    good, bad = (part(x, labels, ignore_index=255) for x in (right, -right))
    assert good.dim() == 0
    assert good + 0.4 < bad  # CLAS's Dice of perfect masks is a half
    assert torch.isfinite(part(right, few, ignore_index=255))


@torch.no_grad()
def test_memories_remember_masks_and_their_state_can_be_kept(memory: Case) -> None:
    part = memory.build()
    inputs = memory.inputs(part, frames=4)
    (wanted,) = memory.call(part, inputs)
    assert wanted.shape[:3] == (2, 4, K)
    assert wanted.shape[-2:] == (SIDE, SIDE)
    # Other masks at the start are another film.
    other = memory.call(part, inputs | dict(masks=inputs["masks"].flip(-1)))[0]
    assert (other[:, 1] - wanted[:, 1]).abs().max() > 1e-6
    # A film in two pieces, the state of its second film alone written to a file between them.
    first, second = (
        {n: v[:, part] if n != "masks" else v for n, v in inputs.items()}
        for part in (slice(0, 2), slice(2, 4))
    )
    start = part.start(2, K, inputs["embedding"].flatten(0, 1))
    _, state = memory.of.through(part, start, **first)
    file = io.BytesIO()
    torch.save(state.to("cpu").detach()[1:].as_dict(), file)
    file.seek(0)
    state = type(state).from_dict(torch.load(file, weights_only=True))
    second = {name: value[1:] for name, value in second.items()}
    (found,), _ = memory.of.through(part, state, **second, start=2)
    close(found, wanted[1:, 2:])
