"""Small models, and their weights under the key names of published files."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from echozoo.registry import MODELS

# As in ViT-L, numbers of windowed blocks (10, 11, 12, 13) hold those of global ones (1, 3).
SIZES = dict(embed_dims=16, depth=14, num_heads=2, global_attn_indexes=(1, 3))
WIDTH = 32


def published_sam(grid=8, sizes=SIZES, seed=0):
    """A state dict of segment_anything's own modules at a small size, random."""
    encoder = ImageEncoderViT(
        img_size=grid * 16,
        embed_dim=sizes["embed_dims"],
        depth=sizes["depth"],
        num_heads=sizes["num_heads"],
        out_chans=WIDTH,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=sizes["global_attn_indexes"],
    )
    prompts = PromptEncoder(WIDTH, (grid, grid), (grid * 16, grid * 16), mask_in_chans=16)
    transformer = TwoWayTransformer(2, WIDTH, 2, 64)
    sam = Sam(encoder, prompts, MaskDecoder(transformer_dim=WIDTH, transformer=transformer))
    return randomise(sam, seed).eval()


def randomise(module, seed):
    generator = torch.Generator().manual_seed(seed)
    for value in module.state_dict().values():
        value.copy_(torch.rand(value.shape, generator=generator) * 0.2 - 0.1)
    return module


def segmentor(backbone="SAMViT", grid=8, head=None, **settings):
    sizes = SIZES | settings
    stride = {"SAMViT": 16, "SAMUS": 8}[backbone]
    extra = {} if backbone == "SAMViT" else {"conv_channels": (4, 8, 8), "pos_embed_size": 8}
    return MODELS.build(
        dict(
            type="PromptableSegmentor",
            backbone=dict(
                type=backbone, img_size=grid * stride, out_channels=WIDTH, **extra, **sizes
            ),
            prompt_head=dict(
                type="ManualPromptHead",
                embed_dims=WIDTH,
                img_size=grid * stride,
                embedding_size=grid,
            )
            | (head or {}),
            decoder=dict(type="SAMMaskDecoder", embed_dims=WIDTH, num_heads=2, mlp_dims=64),
        )
    )


def snapshot(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


# What this project calls a part of SAMUS -> what the published files call it.
THEIRS = {
    "cnn_branch.stem.conv.": "cnn_embed.inc.conv.0.",
    "cnn_branch.stem.norm.": "cnn_embed.inc.conv.1.",
    "cnn_branch.downs.0.conv.": "cnn_embed.downs.0.maxpool_conv.1.",
    "cnn_branch.downs.0.norm.": "cnn_embed.downs.0.maxpool_conv.2.",
    "cnn_branch.downs.1.conv.": "cnn_embed.downs.1.maxpool_conv.1.",
    "cnn_branch.downs.1.norm.": "cnn_embed.downs.1.maxpool_conv.2.",
    "cnn_branch.downs.2.conv.": "cnn_embed.downs.2.maxpool_conv.1.",
    "cnn_branch.downs.2.norm.": "cnn_embed.downs.2.maxpool_conv.2.",
    "pos_adapter.downs.0.conv.": "post_pos_embed.downs.0.maxpool_conv.1.",
    "pos_adapter.downs.0.norm.": "post_pos_embed.downs.0.maxpool_conv.2.",
    "input_adapter.down.": "input_Adapter.D_fc1.",
    "input_adapter.up.": "input_Adapter.D_fc2.",
    "feature_adapter.down.": "MLP_Adapter.D_fc1.",
    "feature_adapter.up.": "MLP_Adapter.D_fc2.",
    "cross_attn.": "Space_Adapter.",
    "refine.conv.": "refine_Adapter.conv.0.",
    "refine.norm.": "refine_Adapter.conv.1.",
    "backbone.": "image_encoder.",
    "prompt_head.encoder.": "prompt_encoder.",
    "decoder.": "mask_decoder.",
}


def published_samus(grid=4, seed=0):
    """A published SAMUS state dict, and the same under this project's keys."""
    own = snapshot(randomise(segmentor("SAMUS", grid), seed))
    published = {}
    for key, value in own.items():
        for ours, theirs in THEIRS.items():
            part = ours in ("backbone.", "prompt_head.encoder.", "decoder.")
            key = theirs + key[len(ours) :] if part and key.startswith(ours) else key
            key = key if part else key.replace(ours, theirs)
        published[key] = value
    return published, own
