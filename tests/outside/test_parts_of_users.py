"""Parts from a user's own file: it and a config, nothing else touched, train a step and test."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from echozoo import registry
from echozoo.engine import launch
from echozoo.models.prompts import Features, Prompts

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

TEMPORAL = """
import torch
from torch import nn
from echozoo.registry import TEMPORAL_MODULES


@TEMPORAL_MODULES.register_module()
class OwnMean(nn.Module):
    def __init__(self, embed_dims):
        super().__init__()
        self.share = nn.Parameter(torch.full((embed_dims,), 0.1))

    def forward(self, x, num_frames):
        clips = x.unflatten(0, (-1, num_frames))
        mean = clips.mean(1, keepdim=True).expand_as(clips)
        return (clips + self.share * mean).flatten(0, 1)
"""
ENCODER = """
from torch import nn
from echozoo.registry import MODELS


@MODELS.register_module()
class OwnEncoder(nn.Module):
    out_channels, stride, sees = 192, 16, "clip"

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 16, stride=16)

    def forward(self, images, num_frames):
        clips = self.patches(images).unflatten(0, (-1, num_frames))
        return (clips + clips.mean(1, keepdim=True)).flatten(0, 1)
"""
PROMPTS = """
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import nn
from echozoo.registry import PROMPT_HEADS, TRANSFORMS
from echozoo.models.prompt_heads.base import SAMPromptHead


@TRANSFORMS.register_module()
class OwnScribbles(BaseTransform):
    def transform(self, results):
        labels = results["labels"][:, None]  # T, 1, H, W
        structures = np.arange(1, len(results["structures"]) + 1).reshape(1, -1, 1, 1)
        drawn = (labels == structures).mean(axis=(2, 3)).astype(np.float32)  # T, K
        results["extra_prompts"] = {"scribbles": drawn}
        return results


@PROMPT_HEADS.register_module()
class OwnScribbleHead(SAMPromptHead):
    kinds = ("scribbles",)

    def __init__(self, embed_dims, img_size, embedding_size):
        super().__init__(embed_dims, img_size, embedding_size)
        self.scribbles = nn.Linear(1, embed_dims)

    def embed(self, features, prompts, output_tokens=None):
        sparse = self.scribbles(prompts.extra["scribbles"][..., None, None])  # N, K, 1, C
        dense = torch.zeros_like(features.embedding)[:, None]
        dense = dense.expand(-1, sparse.shape[1], -1, -1, -1)  # N, K, C, h, w
        return sparse, dense, features
"""
PIPELINE = """
pipeline = [
    dict(type="LoadClip"), dict(type="ResizeClip"), dict(type="OwnScribbles"), dict(type="PackClip")
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""
INSERT = 'model = dict(backbone=dict(inserts=[dict(type="OwnMean", at="{at}", when="{when}")]))'
PARTS = ("OwnMean", "OwnEncoder", "OwnScribbles", "OwnScribbleHead")


@pytest.fixture
def trained(tmp_path, phantom):
    """Trains a step of a user's config, with a file of parts beside it, and tests it."""

    def train(base: str, part: str, config: str, scale: str | None = "tiny", **options):
        (tmp_path / "own_part.py").write_text(part)
        path = tmp_path / "own.py"
        imports = "custom_imports = dict(imports=['own_part'])\n"
        path.write_text(f"_base_ = {str(CONFIGS / base)!r}\n{imports}{config}\n")
        loaders = {f"{loader}.num_workers": 0 for loader in launch.LOADERS}
        loaders |= {f"{loader}.persistent_workers": False for loader in launch.LOADERS}
        epochs = {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1}
        settings = loaders | epochs | {"train_dataloader.batch_size": 1}
        dataset = dict(indices=2, clip_length=2, split="ratio", **options)
        cfg = launch.read_config(
            Namespace(
                **dict(config=str(path), scale=scale, data_root=str(phantom), dataset=dataset),
                **dict(cfg_options=settings, work_dir=str(tmp_path / "run"), amp=None, seed=0),
                launcher="none",
            )
        )
        launch.forget_pretrained(cfg)
        launch.collect_results(cfg)
        runner = launch.build_runner(cfg)
        before = {name: value.clone() for name, value in runner.model.named_parameters()}
        runner.train()
        assert runner.test()["camus/num_images"] > 0
        changed = {n for n, p in runner.model.named_parameters() if not torch.equal(p, before[n])}
        return runner.model, changed

    yield train
    for kind in (registry.TEMPORAL_MODULES, registry.MODELS, registry.PROMPT_HEADS):
        for name in PARTS:
            kind.module_dict.pop(name, None)
    registry.TRANSFORMS.module_dict.pop("OwnScribbles", None)
    sys.modules.pop("own_part", None)
    sys.path[:] = [folder for folder in sys.path if folder != str(tmp_path)]


@pytest.mark.parametrize(
    ("base", "at", "when"),
    [
        ("samus.py", "blocks.*", "before_mlp"),
        ("sam_finetune.py", "blocks.1", "before_attention"),
        ("unet.py", "encoder.2", "after"),
    ],
)
def test_a_temporal_module(trained, base, at, when):
    model, changed = trained(base, TEMPORAL, INSERT.format(at=at, when=when))
    assert model.sees == "clip"
    own = {name for name, _ in model.named_parameters() if name.endswith("module.share")}
    assert own
    assert own <= changed


def test_an_encoder_of_other_sizes_that_sees_clips(trained):
    config = """
model = dict(
    backbone=dict(_delete_=True, type="OwnEncoder"),
    prompt_head=dict(img_size=64),
    frozen=("prompt_head.*", "decoder.iou_prediction_head.*",
            "decoder.output_hypernetworks_mlps.[123].*"),
)
"""
    model, changed = trained("sam_finetune.py", ENCODER, config, None, image_size=(64, 64))
    assert model.sees == "clip"
    assert "backbone.patches.weight" in changed
    # A click is where it was made: what the head embeds is what SAM's encoder embeds there.
    head = model.prompt_head.eval()
    points, labels = torch.tensor([[[[40.0, 24.0]]]]), torch.ones(1, 1, 1)
    features = Features.of(torch.zeros(1, 192, 4, 4))
    sparse, *_ = head.embed(features, Prompts(points, labels))
    wanted, _ = head.encoder((points[0], labels[0]), None, None)
    torch.testing.assert_close(sparse[0, :, :], wanted)
    assert head.encoder.input_image_size == (64, 64)
    assert head.encoder.image_embedding_size == (4, 4)


def test_a_kind_of_prompt(trained):
    config = 'model = dict(prompt_head=dict(_delete_=True, type="OwnScribbleHead"))' + PIPELINE
    config += "scales = dict(tiny=dict(model=dict(frozen=(), prompt_head=dict(_delete_=True, "
    config += 'type="OwnScribbleHead"))))\n'
    model, changed = trained("samus.py", PROMPTS, config)
    assert model.prompt_head.kinds == ("scribbles",)
    assert "prompt_head.scribbles.weight" in changed


def test_an_adapter_on_any_linear_layer(trained):
    config = """
model = dict(adapters=[dict(type="LoRA", rank=2, at="backbone.blocks.*.mlp.lin1")])
scales = dict(tiny=dict(model=dict(frozen=("backbone.*",), trainable=("*.lora_*",))))
"""
    _, changed = trained("sam_finetune.py", "", config)
    assert any(".mlp.lin1.lora_" in name for name in changed)
    assert not any("backbone" in name and name.endswith("lin1.weight") for name in changed)
