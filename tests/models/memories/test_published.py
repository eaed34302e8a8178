"""The published STM, STCN, XMem and MemSAM, from weights that their key names alone determine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from related_video import recorded

from echozoo.models import load_published
from echozoo.models.layers.aggregation import soft_aggregate
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import MODELS

pytestmark = pytest.mark.slow

TOLERANCE = 1e-3  # of the largest difference, over the reference's standard deviation


def build(name: str, shared: Path, **settings):
    """A config's model with the recorded weights, and the recordings; settings are the memory's."""
    init_default_scope("echozoo")
    cfg = Config.fromfile(f"configs/{name}.py").model
    cfg.memory.update(settings)
    cfg.pretrained = None
    model = MODELS.build(cfg).eval()
    weights, arrays = recorded(shared, name)
    load_published(model, weights)
    return model, Recorder(model), arrays


class Recorder:
    """What the decoder drew and the memory read, frame after frame."""

    def __init__(self, model) -> None:
        self.logits, self.readouts = [], []
        model.decoder.register_forward_hook(lambda *args: self.logits.append(args[2][0][:, :, 0]))
        read = model.memory.read

        def reading(*args):
            readout, state = read(*args)
            self.readouts.append(readout)
            return readout, state

        model.memory.read = reading

    def full(self, size: int) -> torch.Tensor:
        """Logits (T, K, size, size) of one film."""
        return F.interpolate(
            torch.cat(self.logits), (size, size), mode="bilinear", align_corners=False
        )


def agrees(**pairs) -> None:
    for name, (value, wanted) in pairs.items():
        assert value.shape == wanted.shape, name
        error = (value - wanted).abs().max() / wanted.std()
        assert error < TOLERANCE, (name, error)


def normed(frames: torch.Tensor) -> torch.Tensor:
    rgb = (frames.float() / 255)[:, None].expand(-1, 3, -1, -1)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    return (rgb - mean) / std


def given(labels: torch.Tensor, structures: int = 3) -> dict[int, torch.Tensor]:
    masks = labels == torch.arange(1, structures + 1)[:, None, None]
    return {0: 32.0 * masks[None] - 16}


def first_of(features: Features, count: int) -> Features:
    """The first frames of one film."""
    return Features(tuple(m[:count] for m in features.maps), count, features.images[:count])


@torch.no_grad()
def test_stm(shared):
    model, seen, wanted = build("stm", shared, every=2)
    features = model.encode(normed(wanted["frames"]), 5)
    _, state = model.stream(features, given(wanted["mask0"]), goes_on=False)
    logits = seen.full(128)
    bank = state.working
    agrees(
        decoder_logits=(logits[..., ::2, ::2], wanted["decoder_logits"]),
        logits=(soft_aggregate(logits)[..., ::4, ::4], wanted["logits"]),
        probability=(
            soft_aggregate(logits).softmax(1)[-1, :, ::2, ::2],
            wanted["probability"],
        ),
        key=(bank.keys[0][:, ::8].unflatten(-1, (2, 8, 8)), wanted["memory_key"]),
        value=(bank.values[0][:, ::32].unflatten(-1, (2, 8, 8)), wanted["memory_value"]),
        readout=(seen.readouts[-1][0][:, ::16], wanted["readout"]),
        query=(
            model.memory.query_value(features.embedding[-1:])[:, ::16],
            wanted["query_value"],
        ),
    )
    assert state.frames == (0, 2)


@torch.no_grad()
def test_stcn(shared):
    model, seen, wanted = build("stcn", shared, every=2)
    features = model.encode(normed(wanted["frames"]), 6)
    _, state = model.stream(features, given(wanted["mask0"]), goes_on=False)
    logits, bank = seen.full(128), state.working
    agrees(
        logits=(logits[..., ::2, ::2], wanted["logits"]),
        probability=(
            soft_aggregate(logits).softmax(1)[-1, :, ::2, ::2],
            wanted["probability"],
        ),
        key=(bank.keys[0][:, ::4], wanted["memory_key"]),
        value=(bank.values[0][:, ::32], wanted["memory_value"]),
        readout=(seen.readouts[-1][0][:, ::16], wanted["readout"]),
    )
    model.train()
    seen.logits.clear()
    model.stream(first_of(features, 3), given(wanted["mask0"], 2), goes_on=False)
    logits = soft_aggregate(seen.full(128)[-1:])
    agrees(
        train=(logits[0, :, ::2, ::2], wanted["train_logits"]),
        probability=(logits.softmax(1)[0, 1:, ::2, ::2], wanted["train_probability"]),
    )


@torch.no_grad()
def test_xmem(shared):
    model, seen, wanted = build("xmem", shared, every=2, long_term=None)
    features = model.encode(normed(wanted["frames"]), 8)
    _, state = model.stream(features, given(wanted["mask0"]), goes_on=False)
    logits, bank = seen.full(128), state.working
    agrees(
        logits=(logits[..., ::4, ::4], wanted["logits"]),
        probability=(
            soft_aggregate(logits).softmax(1)[-1, :, ::2, ::2],
            wanted["probability"],
        ),
        readout=(seen.readouts[-1][0][:, ::16], wanted["readout"]),
        key=(bank.keys[0, 0, ::4], wanted["memory_key"]),
        shrinkage=(bank.shrinkage[0, 0], wanted["memory_shrinkage"]),
        value=(bank.values[0][:, ::32], wanted["memory_value"]),
    )
    # Recorded with the last frame's state as it came: nothing follows.
    _, state = model.stream(first_of(features, 7), given(wanted["mask0"]))
    agrees(hidden=(state.sensory[0][:, ::4], wanted["hidden"]))


@torch.no_grad()
def test_xmem_long_term(shared):
    long_term = dict(longest=4, shortest=2, prototypes=16)
    model, seen, wanted = build("xmem", shared, every=1, long_term=long_term)
    features = model.encode(normed(wanted["frames"]), 8)
    _, state = model.stream(features, given(wanted["mask0"]), goes_on=False)
    bank = state.long_term
    agrees(
        logits=(seen.full(128)[-1, :, ::2, ::2], wanted["long_logits"]),
        readout=(seen.readouts[-1][0][:, ::16], wanted["long_readout"]),
        key=(bank.keys[0, 0, ::4], wanted["long_key"]),
        shrinkage=(bank.shrinkage[0, 0], wanted["long_shrinkage"]),
        value=(bank.values[0][:, ::32], wanted["long_value"]),
    )


@torch.no_grad()
def test_xmem_in_training(shared, monkeypatch):
    model, seen, wanted = build("xmem", shared)
    model.train()
    monkeypatch.setattr(model.memory, "_is_deep", lambda t: t == 1)  # where it was drawn
    features = model.encode(normed(wanted["frames"][:4]), 4)
    model.stream(features, given(wanted["mask0"]), goes_on=False)
    shares = soft_aggregate(seen.full(128)).softmax(1)[..., ::4, ::4]
    keys = model.memory.keys(features)
    agrees(
        # Shares, as the published sum of logarithms loses digits near a share of 1.
        shares=(shares, wanted["train_logits"].softmax(1)),
        readout=(seen.readouts[-1][0][:, ::16], wanted["train_readout"]),
        selection=(keys.selection[-1, ::4], wanted["train_selection"]),
    )


@pytest.fixture(scope="module")
def memsam(shared):
    """Model, recorder, recordings, and the features of the four frames."""
    model, seen, wanted = build("memsam", shared, deep_every=2)
    rgb = (wanted["frames"].float() / 255)[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        return model, seen, wanted, model.encode(rgb, 4)


@torch.no_grad()
def test_memsam(memsam, monkeypatch):
    model, seen, wanted, features = memsam
    prompt, prompts = model.memory.prompt, []
    monkeypatch.setattr(
        model.memory, "prompt", lambda *args: prompts.append(prompt(*args)) or prompts[-1]
    )
    point = Prompts(
        points=wanted["point_coords"].view(1, 1, 1, 2), labels=wanted["point_labels"].view(1, 1, 1)
    )
    first, _ = model.decode(features[:1], point)
    seen.logits.clear()
    start = {0: F.interpolate(first, (256, 256), mode="bilinear", align_corners=False)}
    masks, state = model.stream(features, start, goes_on=False)
    keys = model.memory.keys(features)
    values = state.working.values[0, 0].unflatten(-1, (3, 32, 32))[:, -1]
    reinforced = model.memory.value_encoder.reinforcement(
        features.embedding[2:3, None], masks[:, 2]
    )
    agrees(
        embedding=(features.embedding[:, ::16, ::2, ::2], wanted["image_embedding"]),
        first=(first[0, 0, ::2, ::2], wanted["first_logits"]),
        low_res=(torch.cat(seen.logits[:4])[:, 0, ::2, ::2], wanted["low_res_logits"]),
        masks=(masks[0, :, 0, ::4, ::4], wanted["masks"]),
        readout=(seen.readouts[3][0, 0, ::8, ::2, ::2], wanted["readout"]),
        prompt=(prompts[-1][0][0, 0, ::8, ::2, ::2], wanted["memory_prompt"]),
        hidden=(state.sensory[0, 0, ::4, ::2, ::2], wanted["hidden"]),
        key=(keys.key[-1, ::4, ::2, ::2], wanted["key"]),
        selection=(keys.selection[-1, ::4, ::2, ::2], wanted["selection"]),
        shrinkage=(keys.shrinkage[-1, 0], wanted["shrinkage"]),
        value=(values[::8, ::2, ::2], wanted["value"]),
        reinforced=(reinforced[0, 0, ::16, ::2, ::2], wanted["reinforced"]),
    )


@torch.no_grad()
def test_memsam_without_its_parts(memsam, monkeypatch):
    model, seen, wanted, features = memsam
    points = Prompts(
        points=wanted["point_coords"].expand(4, 1, 1, 2),
        labels=wanted["point_labels"].expand(4, 1, 1),
    )
    alone, _ = model.decode(features, points)
    sparse, dense, _ = model.prompt_head.embed(features[:1], points[:1])
    pe = model.prompt_head.dense_pe(features.size)
    unprompted = model.decoder(features[:1], pe, sparse[:, :, :0], dense)[0][:, :, 0]
    _enter(model, features, unprompted)
    no_point = seen.logits[-1]
    monkeypatch.setattr(model.memory.value_encoder, "reinforcement", None)
    _enter(model, features, alone[:1])
    agrees(
        no_memory=(alone[-1, 0, ::4, ::4], wanted["no_memory_last"]),
        no_point=(no_point[0, 0, ::4, ::4], wanted["no_point_last"]),
        no_reinforce=(seen.logits[-1][0, 0, ::4, ::4], wanted["no_reinforce_last"]),
    )


def _enter(model, features, logits):
    """Go through the film from these logits of its first frame."""
    masks = F.interpolate(logits, (256, 256), mode="bilinear", align_corners=False)
    model.stream(features, {0: masks}, goes_on=False)
