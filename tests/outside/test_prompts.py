"""A kind of prompt of one's own: a transform that makes it and a head that takes it."""

from __future__ import annotations

PART = """
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
CONFIG = """
head = dict(_delete_=True, type="OwnScribbleHead")
model = dict(prompt_head=head)
scales = dict(tiny=dict(model=dict(frozen=(), prompt_head=head)))
pipeline = [
    dict(type="LoadClip"), dict(type="ResizeClip"), dict(type="OwnScribbles"), dict(type="PackClip")
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))
"""


def test_it_trains(trained):
    run = trained("samus.py", PART, CONFIG)
    assert run.runner.model.prompt_head.kinds == ("scribbles",)
    assert "prompt_head.scribbles.weight" in run.changed
    assert run.metrics["camus/num_images"] > 0
