"""Both AutoSAMs, of dense prompts and of class tokens, against recordings of their code."""

from __future__ import annotations

import pytest
import torch
from related import Recording, build, counts

from echozoo.errors import ConfigError
from echozoo.models import load_published
from echozoo.models.checkpoints import own_keys
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import MODELS

SHALLOW = {"backbone.depth": 1, "backbone.global_attn_indexes": ()}  # SAM's encoder is not recorded
# The published network has a fifth stage and a norm that never reach its output.
DEAD_OF_HARDNET = 17_506_176
SECOND_MASK = 139_808  # of each class; it is never drawn


@pytest.mark.slow
@torch.no_grad()
def test_dense_prompts(shared):
    recording = Recording(shared, "autosam_dense")
    one = {"prompt_head.num_structures": 1, "prompt_head.net_size": None}
    model = build("autosam_dense", **one, **SHALLOW)
    head = model.prompt_head
    weights = recording.weights | recording.filled(head.encoder, "prompt_encoder.")
    weights |= recording.filled(model.decoder, "mask_decoder.")
    report = load_published(model, weights)
    assert all(key.startswith("backbone.") for key in report.left)
    assert counts(model)[1] + DEAD_OF_HARDNET == recording.arrays["counts"][1]
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    images = (255 * recording.wave(2, 3, 128, 128) - mean) / std
    maps = head.net(images)
    recording.check("features_16", maps[3][:, ::16])
    recording.check("features_8", maps[2][:, ::16])
    embedding = 0.5 * recording.noise("autosam.embedding.64", 2, 256, 64, 64)
    features = Features((embedding,), images=images)
    _, dense, _ = head.embed(features, Prompts())
    recording.check("dense", dense[:, 0, ::16, ::5, ::5])
    logits, _ = model.decode(features, Prompts())
    recording.check("low_res_logits", logits[..., ::11, ::11])
    stretching = MODELS.build(dict(type="MinMaxMaskDecoder"))
    stretching.load_state_dict(model.decoder.state_dict())
    model.decoder = stretching
    logits, _ = model.decode(features, Prompts())
    recording.check("probabilities", logits.sigmoid()[..., ::11, ::11])


def test_dense_prompts_take_clicks_and_want_images():
    model = build("autosam_dense", "tiny")
    features = model.encode(torch.rand(1, 3, 96, 96))
    assert model.decode(features, Prompts())[0].shape == (1, 3, 48, 48)
    points, labels = torch.rand(1, 2, 1, 2) * 96, torch.ones(1, 2, 1)
    assert model.decode(features.embedding, points, labels).shape == (1, 2, 48, 48)
    with pytest.raises(ConfigError, match="DenseNetPromptHead: found features without images"):
        model.decode(Features.of(features.embedding), Prompts())


@torch.no_grad()
def test_class_tokens(shared):
    recording, model = Recording(shared, "autosam_class_tokens"), build("autosam_tokens", **SHALLOW)
    load_published(model, recording.weights, parts=("decode_head",))
    for size, number, step in ((16, 2, 3), (64, 1, 11)):
        embedding = recording.noise(f"autosam.embedding.{size}", number, 256, size, size)
        logits, quality = model.decode_head.decode(0.5 * embedding)
        recording.check(f"logits_{size}", logits[..., ::step, ::step])
        recording.check(f"quality_{size}", quality)


def test_class_tokens_layout(shared):
    recording = Recording(shared, "autosam_class_tokens")
    with torch.device("meta"):
        model = build("autosam_tokens")
    total, trained = counts(model)
    assert (total + SECOND_MASK, trained + SECOND_MASK) == tuple(recording.arrays["counts"][:2])
    names = own_keys(model, recording.keys)
    assert set(names.values()) - {None} == set(model.state_dict())
    trainable = {names[str(name)] for name in recording.arrays["trainable"]} - {None}
    assert trainable == {n for n, p in model.named_parameters() if p.requires_grad}
