"""The published SAMUS, reproduced from weights that its key names alone determine."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from echozoo.models.backbones.samus import PUBLISHED_NAMES, SAMUS
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompt_heads.manual import ManualPromptHead

pytestmark = pytest.mark.slow

PREFIXES = (
    ("image_encoder.", "backbone."),
    ("prompt_encoder.", "prompt_head.encoder."),
    ("mask_decoder.", "decoder."),
)


def rename(key: str) -> str:
    for theirs, ours in (*PREFIXES, *PUBLISHED_NAMES):
        key = key.replace(theirs, ours)
    return key


def build() -> nn.ModuleDict:
    parts = dict(backbone=SAMUS(), prompt_head=ManualPromptHead(), decoder=SAMMaskDecoder())
    return nn.ModuleDict(parts).eval()


def shapes(shared) -> dict[str, list[int]]:
    return json.loads((shared / "golden" / "samus_vit_b_keys.json").read_text())


@pytest.fixture(scope="module")
def golden(shared) -> SimpleNamespace:
    folder = shared / "golden"
    spec = importlib.util.spec_from_file_location("fill", folder / "deterministic_weights.py")
    filler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(filler)
    weights = filler.load(folder / "samus_vit_b_keys.json")
    model = build()
    model.load_state_dict({rename(key): torch.from_numpy(v) for key, v in weights.items()})
    reference = {
        k: torch.from_numpy(v)
        for k, v in np.load(folder / "samus_vit_b.npz").items()
        if k != "trainable"
    }
    trainable = {rename(name) for name in np.load(folder / "samus_vit_b.npz")["trainable"]}
    return SimpleNamespace(model=model, reference=reference, trainable=trainable)


@torch.no_grad()
def test_outputs(golden):
    reference, model = golden.reference, golden.model
    embedding = model["backbone"](reference["image"])
    points = reference["point_coords"].unsqueeze(1).float()
    labels = reference["point_labels"].unsqueeze(1)
    sparse, dense, embedding = model["prompt_head"].embed(embedding, points, labels)
    logits, _ = model["decoder"](embedding, model["prompt_head"].dense_pe(), sparse, dense)
    logits = logits.flatten(1, 2)
    masks = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
    found = dict(
        image_embedding=embedding[:, ::8], low_res_logits=logits, masks=masks[..., ::4, ::4]
    )
    for name, value in found.items():
        wanted = reference[name]
        assert value.shape == wanted.shape
        error = (value - wanted).abs().max() / wanted.std()
        assert error < 1e-3, (name, error)
