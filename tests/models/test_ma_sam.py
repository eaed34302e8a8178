"""MA-SAM, against a recording of its code, and the layouts of its files."""

from __future__ import annotations

import copy

import pytest
import torch
from related import Recording, build, counts

from echozoo.models import load_published
from echozoo.models.checkpoints import own_keys
from echozoo.models.passes.adapting import merge_adapters

UNUSED = 6_220 - 256  # of the prompt encoder: all but the embedding of "no mask"
QUALITY = 132_612  # the head for it, which nothing trains


@pytest.mark.slow
@torch.no_grad()
def test_outputs(shared):
    recording, model = Recording(shared, "ma_sam_vit_b"), build("ma_sam")
    assert not load_published(model, recording.weights).left
    clip = recording.wave(5, 3, 256, 256)
    embedding = model.encode(clip, num_frames=5).embedding
    recording.check("image_embedding", embedding[:, ::32])
    logits, quality = model.decode_head.decode(embedding)
    recording.check("low_res_logits", logits[..., ::11, ::11])
    recording.check("iou_predictions", quality)
    torch.testing.assert_close(model(clip[None]), logits)


def test_layout(shared):
    recording = Recording(shared, "ma_sam_vit_b")
    with torch.device("meta"):
        model = build("ma_sam")
    names = own_keys(model, recording.keys)
    assert set(names.values()) - {None} == set(model.state_dict())
    total, trained = counts(model)
    published = recording.arrays["counts"]
    assert (total + UNUSED, trained + UNUSED + QUALITY) == tuple(published)
    trainable = {names[str(name)] for name in recording.arrays["trainable"]} - {None}
    ours = {n for n, p in model.named_parameters() if p.requires_grad or "iou_prediction" in n}
    assert trainable == ours


def test_numbered_matrices_load():
    model = build("ma_sam", "tiny")
    weights = {"image_encoder.FacTu.weight": torch.randn(8, 96)}
    weights["image_encoder.FacTv.weight"] = torch.randn(96, 8)
    blocks = list(model.backbone.blocks)
    for i in range(len(blocks)):
        weights |= {f"{which}_FacTs_{i:03}": torch.randn(8, 8) for which in "qv"}
    report = load_published(model, weights)
    assert len(report.loaded) == len(weights)
    first = blocks[0].attn.qkv
    torch.testing.assert_close(first.fact_u.weight, weights["image_encoder.FacTu.weight"])
    torch.testing.assert_close(first.fact_v.weight, weights["image_encoder.FacTv.weight"])
    for i, block in enumerate(blocks):
        for own, which in zip(block.attn.qkv.fact_m, "qv", strict=True):
            torch.testing.assert_close(own.weight, weights[f"{which}_FacTs_{i:03}"])


@torch.no_grad()
def test_shared_factors_go_into_copies_and_can_be_merged():
    model = build("ma_sam", "tiny")
    clips = torch.rand(1, 2, 1, 96, 96)
    torch.nn.init.normal_(model.backbone.blocks[0].attn.qkv.fact_v.weight, std=0.3)
    wanted, twin = model(clips), copy.deepcopy(model)
    torch.nn.init.zeros_(model.backbone.blocks[0].attn.qkv.fact_v.weight)
    assert not torch.allclose(model(clips), wanted)
    torch.testing.assert_close(twin(clips), wanted)
    torch.testing.assert_close(merge_adapters(twin)(clips), wanted, rtol=1e-4, atol=1e-4)
    assert not any("fact_" in name for name, _ in twin.named_parameters())
