"""Parts say what they are, and parts that do not fit together are refused."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from echozoo.errors import ConfigError
from echozoo.registry import MODELS

SIZE, CHANNELS = 64, 16
TINY_SAM = dict(embed_dims=8, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=2)


@MODELS.register_module()
class FrameMixer(nn.Module):
    """An encoder of one's own: stride 16, 16 channels, each frame takes from its whole clip."""

    out_channels, stride, sees = CHANNELS, 16, "clip"

    def __init__(self, sees: str | None = "clip", out_channels: int = CHANNELS) -> None:
        super().__init__()
        self.sees, self.out_channels = sees, out_channels
        self.patches = nn.Conv2d(1, out_channels, 16, stride=16)

    def forward(self, images, num_frames):
        clips = self.patches(images[:, :1]).unflatten(0, (-1, num_frames))
        return (clips + clips.mean(1, keepdim=True)).flatten(0, 1)


@MODELS.register_module()
class TwoMaps(nn.Module):
    """An encoder that returns two maps, and takes images alone."""

    out_channels, stride = CHANNELS, 8

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 4, 4), nn.Conv2d(4, CHANNELS, 2, 2)

    def forward(self, images):
        fine = self.first(images[:, :1])
        return fine, self.second(fine)


def build(backbone: dict, head: dict | None = None, decoder: dict | None = None):
    init_default_scope("echozoo")
    return MODELS.build(
        dict(
            type="PromptableSegmentor",
            backbone=backbone,
            prompt_head=dict(type="ManualPromptHead", **(head or {})),
            decoder=dict(type="SAMMaskDecoder", num_heads=2, mlp_dims=8, **(decoder or {})),
        )
    ).eval()


def test_sizes_stand_once_in_a_config():
    model = build(dict(type="FrameMixer"))
    assert model.prompt_head.encoder.input_image_size == (1024, 1024)
    features = model.encode(torch.rand(2, 1, SIZE, SIZE), num_frames=2)
    points, labels = torch.full((2, 1, 1, 2), 20.0), torch.ones(2, 1, 1)
    assert model.decode(features.embedding, points, labels).shape == (2, 1, 16, 16)


def test_a_click_lies_where_it_was_made():
    model, vit = (
        build(dict(type="FrameMixer")),
        build(dict(type="SAMViT", img_size=SIZE, patch_size=16, out_channels=CHANNELS, **TINY_SAM)),
    )
    vit.prompt_head.load_state_dict(model.prompt_head.state_dict())
    points, labels = torch.full((1, 1, 1, 2), 20.0), torch.ones(1, 1, 1)
    found, wanted = (
        one.prompt_head.embed(one.encode(torch.rand(1, 1, SIZE, SIZE)), prompts(points, labels))[0]
        for one in (model, vit)
    )
    torch.testing.assert_close(found, wanted)


def prompts(points, labels):
    from echozoo.models.prompts import Prompts

    return Prompts(points=points, labels=labels)


@pytest.mark.parametrize(
    ("head", "decoder", "words"),
    [
        (dict(img_size=256, embedding_size=32), {}, "FrameMixer.*stride=16.*8.*ManualPromptHead"),
        (dict(embed_dims=32), {}, "FrameMixer.*out_channels=16.*32.*ManualPromptHead"),
        ({}, dict(embed_dims=32), "FrameMixer.*out_channels=16.*32.*SAMMaskDecoder"),
    ],
)
def test_parts_of_other_sizes_are_refused(head, decoder, words):
    with pytest.raises(ConfigError, match=words):
        build(dict(type="FrameMixer"), head, decoder)


def test_an_encoder_that_takes_clips_says_what_it_sees():
    with pytest.raises(ConfigError, match="FrameMixer.*sees=None"):
        build(dict(type="FrameMixer", sees=None))


def test_what_a_model_sees_is_what_its_parts_see():
    vit = dict(type="SAMViT", img_size=SIZE, patch_size=16, **TINY_SAM)
    assert build(vit).sees == "frame"
    assert build(dict(type="FrameMixer")).sees == "clip"
    assert build(dict(type="TwoMaps")).sees == "frame"
    samus = dict(type="SAMUS", img_size=SIZE, pos_embed_size=8, conv_channels=(4, 4, 4), **TINY_SAM)
    assert build(samus).sees == "frame"
    assert build(samus | dict(temporal=dict(type="TRA"))).sees == "clip"


def test_an_encoder_may_return_several_maps_and_take_images_alone():
    model = build(dict(type="TwoMaps"))
    features = model.encode(torch.rand(2, 1, SIZE, SIZE), num_frames=2)
    assert [one.shape[1] for one in features.maps] == [4, CHANNELS]
    points, labels = torch.full((2, 1, 1, 2), 20.0), torch.ones(2, 1, 1)
    assert model.decode(features.embedding, points, labels).shape == (2, 1, 32, 32)


@pytest.mark.parametrize("arch", ["base", "large", "huge"])
def test_position_tables_that_train_are_those_of_global_blocks(arch):
    cfg = Config.fromfile("configs/samus.py").model
    cfg.backbone.arch = arch
    init_default_scope("echozoo")
    with torch.device("meta"):
        model = MODELS.build(cfg)
    trained = {
        int(name.split(".")[2])
        for name, p in model.named_parameters()
        if "rel_pos" in name and p.requires_grad
    }
    assert trained == set(model.backbone.global_attn_indexes)
