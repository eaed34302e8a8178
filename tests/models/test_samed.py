"""SAMed, against a recording of its code, and both layouts of its files."""

from __future__ import annotations

import pytest
import torch
from related import Recording, build, counts
from torch import nn

from echozoo.models import load_published
from echozoo.models.checkpoints import own_keys

UNUSED = 6_220 - 256  # of the prompt encoder: all but the embedding of "no mask"
QUALITY = 132_612  # the head for it, which nothing trains


@pytest.mark.slow
@torch.no_grad()
def test_outputs(shared):
    recording, model = Recording(shared, "samed_vit_b"), build("samed")
    assert not load_published(model, recording.weights).left
    clips = recording.wave(2, 3, 256, 256)[:, None]
    embedding = model.encode(clips[:, 0]).embedding
    recording.check("image_embedding", embedding[:, ::16])
    logits, quality = model.decode_head.decode(embedding)
    recording.check("low_res_logits", logits[..., ::3, ::3])
    recording.check("iou_predictions", quality)
    recording.check("masks", model(clips)[..., ::13, ::13])


def test_layout(shared):
    recording = Recording(shared, "samed_vit_b")
    with torch.device("meta"):
        model = build("samed")
    names = own_keys(model, recording.keys)
    claimed = set(names.values()) - {None}
    stacked = {name for name in claimed if ".lora_a." in name}
    assert len(stacked) == 24  # A of q and of v, which are one matrix here
    wanted = {name for name in model.state_dict() if ".lora_a." not in name}
    assert claimed - stacked == wanted
    total, trained = counts(model)
    published = recording.arrays["counts"]
    assert (total + UNUSED, trained + UNUSED + QUALITY) == tuple(published)
    trainable = {names[str(name)] for name in recording.arrays["trainable"]} - {None} - stacked
    ours = {n for n, p in model.named_parameters() if p.requires_grad or "iou_prediction" in n}
    assert trainable == {name for name in ours if ".lora_a." not in name}


def numbered(model: nn.Module) -> dict[str, torch.Tensor]:
    """The published files' layout: numbered matrices of q and v in turn, and the decoder."""
    weights = {}
    for i, block in enumerate(model.backbone.blocks):
        lora = block.attn.qkv
        for j, (down, up) in enumerate(zip(lora.lora_a.weight.split(4), lora.lora_b, strict=True)):
            weights[f"w_a_{2 * i + j:03}"] = down
            weights[f"w_b_{2 * i + j:03}"] = up.weight
    decoder = model.decode_head.decoder.state_dict()
    weights |= {f"mask_decoder.{key}": value for key, value in decoder.items()}
    for part in ("no_mask_embed", "pe_layer"):
        inside = getattr(model.decode_head, part).state_dict()
        weights |= {f"prompt_encoder.{part}.{key}": value for key, value in inside.items()}
    weights["prompt_encoder.not_a_point_embed.weight"] = torch.zeros(1, 64)
    return {key: value.detach().clone().normal_() for key, value in weights.items()}


def test_numbered_matrices_load(shared):
    model = build("samed", "tiny")
    weights = numbered(model)
    report = load_published(model, weights)
    assert set(report.groups) == {"backbone"}
    for i, block in enumerate(model.backbone.blocks):
        lora, numbers = block.attn.qkv, (2 * i, 2 * i + 1)
        rows = torch.cat([weights[f"w_a_{n:03}"] for n in numbers])
        torch.testing.assert_close(lora.lora_a.weight, rows)
        for up, n in zip(lora.lora_b, numbers, strict=True):
            torch.testing.assert_close(up.weight, weights[f"w_b_{n:03}"])
