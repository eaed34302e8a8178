"""What MSFF and LIA both keep: shape, norms, learning, and a place in the segmentor."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models import load_published
from echozoo.models.layers.norm import SyncBN
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

NORMS = {
    "BN": (dict(type="BN"), SyncBN),
    "GN": (dict(type="GN", num_groups=2), nn.GroupNorm),
    "LN2d": (dict(type="LN2d"), LayerNorm2d),
}
both = pytest.mark.parametrize("name", ["MSFF", "LIA"])


def build(name: str, channels: int = 8, **settings) -> nn.Module:
    return MODELS.build(dict(type=name, in_channels=channels, **settings))


@both
@pytest.mark.parametrize("size", [(16, 16), (5, 9), (1, 1)])
@torch.no_grad()
def test_keeps_the_shape(name, size):
    x = torch.randn(2, 8, *size)
    assert build(name).eval()(x).shape == x.shape


@both
@pytest.mark.parametrize("norm", NORMS)
def test_learns_from_a_batch_of_one(name, norm):
    norm_cfg, kind = NORMS[norm]
    module = build(name, norm_cfg=norm_cfg)
    assert any(isinstance(part, kind) for part in module.modules())
    x = torch.randn(1, 8, 6, 6)
    module(x).square().sum().backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@both
@pytest.mark.parametrize("norm", ["GN", "LN2d"])
def test_norms_without_a_batch_do_the_same_in_training(name, norm):
    module = build(name, norm_cfg=NORMS[norm][0])
    x = torch.randn(2, 8, 6, 6)
    together = module.train()(x)
    alone = torch.cat([module.eval()(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@both
@pytest.mark.parametrize(
    "norm_cfg", [dict(type="Norm"), dict(type="GN", num_groups=3), dict(type="GN"), dict()]
)
def test_norms_that_cannot_be(name, norm_cfg):
    with pytest.raises(ConfigError, match=r"found norm_cfg=.*, wants a norm for 8 channels"):
        build(name, norm_cfg=norm_cfg)


def segmentor(neck: dict | None) -> PromptableSegmentor:
    backbone = dict(
        type="SAMUS", embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), img_size=32,
        pos_embed_size=8, conv_channels=(4, 4, 8), out_channels=32,
    )  # fmt: skip
    cfg = dict(
        type="PromptableSegmentor",
        backbone=backbone,
        neck=neck,
        prompt_head=dict(type="ManualPromptHead", embed_dims=32, img_size=32, embedding_size=4),
        decoder=dict(type="SAMMaskDecoder", embed_dims=32, num_heads=2, mlp_dims=32),
        loss=dict(type="DiceCELoss"),
    )
    return MODELS.build(cfg)


def clip(frames: int, structures: int = 2) -> dict:
    sample = EchoDataSample(
        metainfo=dict(input_size=(32, 32), valid_size=(32, 32), native_size=(40, 30)),
        gt_labels=torch.randint(0, structures + 1, (frames, 32, 32), dtype=torch.uint8),
        points=torch.rand(frames, structures, 1, 2) * 32,
        point_labels=torch.ones(frames, structures, 1, dtype=torch.int64),
    )
    return {"inputs": torch.rand(1, frames, 1, 32, 32), "data_samples": [sample]}


@both
def test_as_the_neck_of_a_segmentor(name):
    model = segmentor(dict(type=name, in_channels=32))
    losses = model(**clip(frames=2), mode="loss")
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.neck.parameters())
    model.eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        samples = model(**clip(frames=2), mode="predict")
        embedding = model.encode(images, num_frames=2).embedding
        torch.testing.assert_close(embedding, model.neck(model.backbone(images, num_frames=2)))
    assert samples[0].pred_masks.shape == (2, 2, 40, 30)
    assert embedding.shape == (2, 32, 4, 4)


@both
def test_weights_without_a_neck_load_completely(name):
    weights, model = segmentor(None).state_dict(), segmentor(dict(type=name, in_channels=32))
    report = load_published(model, weights)
    assert set(report.loaded) == set(weights)
    assert {key.split(".")[0] for key in report.left} == {"neck"}
