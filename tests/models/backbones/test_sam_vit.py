"""SAMViT equals segment_anything's image encoder."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.backbones.sam_vit import ARCHS, SAMViT
from echozoo.registry import MODELS

SMALL = dict(embed_dims=16, depth=3, num_heads=2, global_attn_indexes=(1,), out_channels=8)


def reference(
    img_size, embed_dims, depth, num_heads, global_attn_indexes, out_channels=256, window=14
):
    encoder = ImageEncoderViT(
        img_size=img_size,
        embed_dim=embed_dims,
        depth=depth,
        num_heads=num_heads,
        out_chans=out_channels,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=global_attn_indexes,
    ).eval()
    for name, parameter in encoder.named_parameters():
        if "pos" in name:  # zeros would hide a mistake
            nn.init.normal_(parameter, std=0.1)
    return encoder


@torch.no_grad()
def error(ours: SAMViT, theirs: ImageEncoderViT, size: tuple[int, int]) -> float:
    images = torch.randn(1, 3, *size)
    out = ours.eval()(images)
    wanted = theirs(images)
    assert out.shape == wanted.shape
    return (out - wanted).abs().max().item()


def test_equals_segment_anything():
    theirs = reference(80, **SMALL, window=3)
    ours = MODELS.build(dict(type="SAMViT", img_size=80, window_size=3, **SMALL))
    ours.load_state_dict(theirs.state_dict())
    assert error(ours, theirs, (80, 80)) < 1e-5


@pytest.mark.slow
def test_vit_b_equals_segment_anything():
    """At 256 pixels; tests/models/test_golden.py compares it at 1024 with recorded outputs."""
    theirs = reference(256, **ARCHS["base"])
    ours = SAMViT(img_size=256)
    ours.load_state_dict(theirs.state_dict())
    assert error(ours, theirs, (256, 256)) < 1e-4


def test_another_input_size_interpolates_the_tables():
    ours = SAMViT(img_size=128, window_size=3, **SMALL)
    theirs = reference(64, **SMALL, window=3)
    ours.load_state_dict(reference(128, **SMALL, window=3).state_dict())
    tables = ours.state_dict()
    positions = tables["pos_embed"].permute(0, 3, 1, 2)
    positions = F.interpolate(positions, (4, 4), mode="bilinear", align_corners=False)
    tables["pos_embed"] = positions.permute(0, 2, 3, 1)
    for name in ("blocks.1.attn.rel_pos_h", "blocks.1.attn.rel_pos_w"):
        tables[name] = F.interpolate(tables[name].T[None], 7, mode="linear")[0].T
    theirs.load_state_dict(tables)
    assert error(ours, theirs, (64, 64)) < 1e-5


def test_oblong_and_gray_inputs():
    model = SAMViT(img_size=64, **SMALL).eval()
    gray = torch.rand(2, 1, 96, 48)
    out = model(gray)
    assert out.shape == (2, 8, 6, 3)
    torch.testing.assert_close(out, model(gray.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tokens_channels_are_side_by_side(channels):
    model = SAMViT(img_size=64, **SMALL).eval()
    seen = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous()))
    model(torch.rand(2, channels, 64, 64))
    assert seen == [True] * 3


def test_overlapping_patches_give_one_token_a_stride():
    model = SAMViT(img_size=64, patch_stride=8, pos_embed_size=4, **SMALL)
    assert model.pos_embed.shape == (1, 4, 4, 16)
    assert model.blocks[1].attn.rel_pos_h.shape == (15, 8)
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 8, 8, 8)


@pytest.mark.parametrize(
    ("arch", "parameters"),
    [
        ("base", 89_670_912),
        ("large", 308_278_272),
        ("huge", 637_026_048),
    ],
)
def test_published_sizes(arch, parameters):
    with torch.device("meta"):
        model = SAMViT(arch)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (dict(arch="tiny"), "arch='tiny', wants one of base, large, huge"),
        (dict(num_heads=5), "num_heads=5, wants a divisor of embed_dims=768"),
        (dict(depth=4), r"global_attn_indexes \[5, 8, 11\], wants block numbers from 0 to 3"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ConfigError, match=message):
        SAMViT(**sizes)


def test_input_that_is_not_whole_patches():
    with pytest.raises(ConfigError, match="found an input of 60 x 64 pixels, wants multiples of"):
        SAMViT(img_size=64, **SMALL)(torch.rand(1, 3, 60, 64))
