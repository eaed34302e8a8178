"""A small SAMUS, and a checkout that has the published one's layout and this project's parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config

from echozoo.engine.config_file import load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = """
_base_ = "{configs}/{base}.py"
model = dict(
    backbone=dict(embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), img_size=32,
                  pos_embed_size=8, window_size=3, conv_channels=(4, 4, 8), out_channels=16),
    prompt_head=dict(embed_dims=16, img_size=32, embedding_size=4),
    decoder=dict(embed_dims=16, num_heads=2, mlp_dims=32, iou_head_hidden=8),
    trainable=("backbone.blocks.1.attn.rel_pos_?",),
)
test_dataloader = dict(dataset=dict(image_size=(32, 32)))
"""
BUILDER = """
from turtle import shape

from .modeling import Samus


def _build_samus(args, encoder_embed_dim, encoder_depth, encoder_num_heads,
                 encoder_global_attn_indexes, checkpoint=None):
    return Samus(args.encoder_input_size, encoder_embed_dim, encoder_depth, encoder_num_heads,
                 encoder_global_attn_indexes)
"""
MODELING = """
from torch import nn
from einops import rearrange

from echozoo.models.backbones.samus import SAMUS
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.freezing import freeze
from echozoo.models.prompt_heads.manual import ManualPromptHead

SAMS = [f"image_encoder.{{part}}" for part in (
    "patch_embed.*", "pos_embed", "blocks.*.norm[12].*", "blocks.*.attn.*", "blocks.*.mlp.*",
    "neck.*")]


class Samus(nn.Module):
    def __init__(self, size, dims, depth, heads, global_indexes):
        super().__init__()
        self.image_encoder = SAMUS(
            embed_dims=dims, depth=depth, num_heads=heads, global_attn_indexes=global_indexes,
            img_size=size, pos_embed_size=8, window_size=3, conv_channels=(4, 4, 8),
            out_channels=16)
        head = ManualPromptHead(embed_dims=16, img_size=size, embedding_size=4)
        self.prompt_encoder = head.encoder
        object.__setattr__(self, "head", head)
        self.mask_decoder = SAMMaskDecoder(
            embed_dims=16, num_heads=2, mlp_dims=32, iou_head_hidden=8)
        freeze(self, [*SAMS, "prompt_encoder.*", "mask_decoder.*"], {trainable})

    def forward(self, imgs, pt):
        embedding = self.image_encoder(imgs)
        points, labels = pt
        sparse, dense, embedding = self.head.embed(
            embedding, points=points[:, None], labels=labels[:, None])
        pe = self.head.dense_pe(embedding.shape[-2:])
        logits = self.mask_decoder(embedding, pe, sparse, dense)[0][:, :, 0]
        return {{"low_res_logits": logits * {scale}}}
"""
TABLES = ("image_encoder.blocks.1.attn.rel_pos_?",)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Config]:
    """Load a small config: of SAMUS, or of a config that builds on it."""

    def load(base: str = "samus") -> Config:
        path = tmp_path / f"small_{base}.py"
        path.write_text(SMALL.format(configs=CONFIGS, base=base))
        return load_config(path)

    return load


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Path]:
    """Write a checkout; ``scale`` spoils its logits, ``trainable`` names what else trains."""

    def write(scale: str = "1", trainable: tuple[str, ...] = TABLES, first: str = "") -> Path:
        package = tmp_path / "SAMUS" / "models" / "segment_anything_samus"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("from .build_sam_us import _build_samus\n")
        (package / "build_sam_us.py").write_text(first + BUILDER)
        (package / "modeling.py").write_text(MODELING.format(scale=scale, trainable=trainable))
        return tmp_path / "SAMUS"

    return write
