"""The Medical SAM Adapter in 2-D and 3-D, against recordings of its code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from related import Recording, build, counts
from torch import Tensor, nn

from echozoo.models import load_published
from echozoo.models.checkpoints import initialise, own_keys
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompts import Prompts
from echozoo.registry import MODELS

DEPTH = 12 * 295_872  # adapters of the 3-D branch, which the 2-D one does not use
UNUSED = 132_612 + 3 * 139_808  # the IoU head, three of four hypernetworks
PROMPTS = 6_220  # said to train, but without gradients
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def clicks(recording: Recording) -> Prompts:
    points, labels = (recording.arrays[name] for name in ("point_coords", "point_labels"))
    return Prompts(
        points=torch.from_numpy(points)[:, None].float(),
        labels=torch.from_numpy(labels)[:, None],
    )


@pytest.mark.slow
@torch.no_grad()
def test_outputs(shared):
    recording, model = Recording(shared, "medical_sam_adapter_vit_b"), build("msa")
    assert not load_published(model, recording.weights).left
    images = (255 * recording.wave(2, 3, 256, 256) - MEAN) / STD

    def check(name: str, step: int) -> None:
        features = model.encode(images)
        recording.check(f"image_embedding{name}", features.embedding[:, ::step])
        logits, _ = model.decode(features, clicks(recording))
        recording.check(f"low_res_logits{name}", logits[..., ::3, ::3])

    check("", 16)
    features, own = model.encode(images), model.decoder
    model.decoder = MODELS.build(dict(type="SAMMaskDecoder"))
    weights = recording.filled(model.prompt_head.encoder, "prompt_encoder.")
    weights |= recording.filled(model.decoder, "mask_decoder.")
    load_published(model, weights)
    logits, _ = model.decode(features, clicks(recording))
    recording.check("low_res_logits_sam_decoder", logits[..., ::3, ::3])
    model.decoder = own
    load_published(model, recording.weights)
    for name, table in model.named_parameters():
        if "rel_pos" in name:
            nn.init.zeros_(table)
    check("_zero_tables", 32)


@pytest.mark.slow
@torch.no_grad()
def test_outputs_of_clips(shared):
    recording = Recording(shared, "medical_sam_adapter_3d_vit_b")
    model = build("msa_3d", **{"backbone.img_size": 224})
    assert not load_published(model, recording.weights).left
    clip = (255 * recording.wave(6, 3, 224, 224) - MEAN) / STD
    features = model.encode(clip, num_frames=6)
    recording.check("image_embedding", features.embedding[:, ::32])
    logits, _ = model.decode(features, clicks(recording))
    recording.check("low_res_logits", logits[..., ::5, ::5])


def test_layout(shared):
    recording = Recording(shared, "medical_sam_adapter_vit_b")
    for config, idle in (("msa", DEPTH), ("msa_3d", 0)):
        with torch.device("meta"):
            model = build(config)
        names = own_keys(model, recording.keys)
        assert set(names.values()) - {None} == set(model.state_dict())
        total, trained = counts(model)
        published = recording.arrays["counts"]
        assert total + idle == published[0]
        assert trained + idle + UNUSED + PROMPTS == published[1]
        unused = ("prompt_head", "iou_prediction", "mlps.1.", "mlps.2.", "mlps.3.")
        trainable = {names[str(name)] for name in recording.arrays["trainable"]} - {None}
        ours = {n for n, p in model.named_parameters() if p.requires_grad}
        assert {n for n in trainable if not any(one in n for one in unused)} == ours


def sam_file(path: Path) -> dict[str, Tensor]:
    """A small SAM under its published names, and what is in the file."""
    sam = build("sam_finetune", "tiny", **{"prompt_head.num_structures": 0})
    names = {
        "backbone.": "image_encoder.",
        "prompt_head.encoder.": "prompt_encoder.",
        "decoder.": "mask_decoder.",
    }
    weights = {}
    for key, value in sam.state_dict().items():
        prefix = next(name for name in names if key.startswith(name))
        weights[names[prefix] + key.removeprefix(prefix)] = torch.randn_like(value)
    torch.save(weights, path)
    return weights


def test_what_the_published_loader_loses_is_an_option(tmp_path):
    path = tmp_path / "sam.pth"
    weights = sam_file(path)
    tables = "image_encoder.blocks.1.attn.rel_pos_h"

    def loaded(**without) -> nn.Module:
        model = build("msa", "tiny")
        initialise(model, dict(path=str(path), parts=("backbone",), **without))
        return model.backbone.blocks[1].attn

    torch.testing.assert_close(loaded().rel_pos_h, weights[tables])
    without = re.search(r"model\.pretrained\.without=(\(.+?\))", Path("configs/msa.py").read_text())
    released = loaded(without=ast.literal_eval(without[1]))
    assert (released.rel_pos_h == 0).all()
    assert (released.rel_pos_w == 0).all()
    weight = weights["image_encoder.blocks.1.attn.qkv.weight"]
    torch.testing.assert_close(released.qkv.weight, weight)


@torch.no_grad()
def test_sams_own_decoder_is_an_option():
    model = build("msa", "tiny", **{"decoder.type": "SAMMaskDecoder"})
    assert type(model.decoder) is SAMMaskDecoder
    released = build("msa", "tiny").decoder
    names = {name: value.shape for name, value in model.decoder.named_parameters()}
    assert {name: value.shape for name, value in released.named_parameters()} == names
    released.load_state_dict(model.decoder.state_dict())
    features = model.encode(torch.rand(1, 3, 96, 96))
    prompts = Prompts(points=torch.full((1, 3, 1, 2), 40.0), labels=torch.ones(1, 3, 1))
    own, _ = model.decode(features, prompts)
    model.decoder = released
    assert not torch.allclose(model.decode(features, prompts)[0], own, atol=1e-3)


def first_frame(model: nn.Module, clip: Tensor) -> Tensor:
    return model.encode(clip, num_frames=len(clip)).embedding[:1]


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 4, 5, 6])
def test_frames_see_each_other_in_3d_alone(frames):
    flat, deep = build("msa", "tiny"), build("msa_3d", "tiny")
    assert (flat.sees, deep.sees) == ("frame", "clip")
    clip = torch.rand(frames, 1, 96, 96)
    other = torch.cat([clip[:1], torch.rand(frames - 1, 1, 96, 96)])
    torch.testing.assert_close(first_frame(flat, clip), first_frame(flat, other))
    same = torch.allclose(first_frame(deep, clip), first_frame(deep, other), atol=1e-5)
    assert same == (frames == 1)
