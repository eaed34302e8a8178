"""Small models with a frozen encoder, and what a feature cache does for them."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from echozoo.engine.kept_features import FeatureCache
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.registry import MODELS

SIZE, GRID, CHANNELS = 32, 4, 8
VIT = dict(
    type="SAMViT", embed_dims=8, depth=2, num_heads=2, global_attn_indexes=(1,), img_size=SIZE,
    patch_size=8, window_size=2, out_channels=CHANNELS,
)  # fmt: skip
SAMUS = dict(
    type="SAMUS", embed_dims=8, depth=2, num_heads=2, global_attn_indexes=(1,), img_size=SIZE,
    pos_embed_size=GRID, window_size=2, conv_channels=(4, 4, 4), out_channels=CHANNELS,
)  # fmt: skip


def build(backbone: dict, **settings) -> PromptableSegmentor:
    init_default_scope("echozoo")
    torch.manual_seed(0)
    cfg = dict(
        type="PromptableSegmentor",
        backbone=backbone,
        prompt_head=dict(
            type="ManualPromptHead", embed_dims=CHANNELS, img_size=SIZE, embedding_size=GRID
        ),
        decoder=dict(type="SAMMaskDecoder", embed_dims=CHANNELS, num_heads=2, mlp_dims=8),
        frozen=("backbone.*",),
    )
    model = MODELS.build({**cfg, **settings})
    for name, parameter in model.backbone.named_parameters():
        if ".temporal." in f".{name}":  # it starts as identity, which would let no frame be seen
            nn.init.normal_(parameter)
    return model.train()


def encoded(model: PromptableSegmentor) -> list[tuple[int, int]]:
    """Images and frames a clip of each call of the encoder from now on."""
    calls: list[tuple[int, int]] = []
    model.backbone.register_forward_hook(
        lambda _, images, named, __: calls.append((len(images[0]), named["num_frames"])),
        with_kwargs=True,
    )
    return calls


def attach(model: PromptableSegmentor, folder: Path, **settings) -> FeatureCache:
    model.feature_cache = FeatureCache(model, folder, **settings)
    return model.feature_cache


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


def without_cache(model: PromptableSegmentor, images: Tensor, num_frames: int = 1) -> Tensor:
    with torch.no_grad():
        features = model.backbone(images, num_frames=num_frames)
        return features if model.neck is None else model.neck(features)
