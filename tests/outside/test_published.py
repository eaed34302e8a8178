"""An encoder of one's own whose published weights have names of their own."""

from __future__ import annotations

import pytest
import torch

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models import load_published

PART = """
from torch import nn
from echozoo.models.contracts import KeyMap
from echozoo.registry import MODELS


@MODELS.register_module()
class OwnEncoder(nn.Module):
    out_channels, stride = 32, 16
    published = (
        KeyMap(
            {r"net\\.head\\.": None, r"net\\.stage(\\d)\\.": r"stages.\\1.", r"net\\.": ""},
            {".W": ".weight"},
            holds=r"stages\\..+",
        ),
    )

    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 32, 4, 4))
        self.more = nn.Conv2d(32, 32, 1)

    def fit_published(self, weights):
        # Grey images: one channel in the file, three here.
        key = "stages.0.weight"
        if key in weights:
            weights[key] = weights[key].expand(-1, 3, -1, -1) / 3
        return weights

    def forward(self, images):
        return self.more(self.stages(images))
"""
MODEL = """
model = dict(
    backbone=dict(_delete_=True, type="OwnEncoder"),
    data_preprocessor=dict(mean=(127.0,) * 3, std=(60.0,) * 3),
    decoder=dict(num_heads=2, mlp_dims=32, iou_head_hidden=16),
    frozen=(), trainable=(),
)
train_dataloader = dict(dataset=dict(image_size=(64, 64)))
val_dataloader = dict(dataset=dict(image_size=(64, 64)))
test_dataloader = dict(dataset=dict(image_size=(64, 64)))
"""


def published() -> dict[str, torch.Tensor]:
    shapes = {
        "net.stage0.W": (8, 1, 4, 4),
        "net.stage0.bias": (8,),
        "net.stage1.W": (32, 8, 4, 4),
        "net.stage1.bias": (32,),
        "net.head.W": (10, 32),
    }
    return {key: torch.rand(shape) for key, shape in shapes.items()}


def test_its_file_starts_it(trained):
    model, weights = trained("sam_finetune.py", PART, MODEL, None).runner.model, published()
    report = load_published(model, weights)
    own = model.backbone.stages.state_dict()
    assert set(report.loaded) == {f"backbone.stages.{key}" for key in own}
    torch.testing.assert_close(own["0.weight"].sum(1), weights["net.stage0.W"][:, 0])
    assert torch.equal(own["1.weight"], weights["net.stage1.W"])
    assert "; left as initialised: backbone.more (2), prompt_head (" in str(report)
    with pytest.raises(CheckpointError, match=r"1 unexpected \(net.stage7.W\)"):
        load_published(model, weights | {"net.stage7.W": torch.zeros(1)})
    del weights["net.stage1.bias"]
    with pytest.raises(CheckpointError, match=r"1 missing \(backbone.stages.1.bias\)"):
        load_published(model, weights)


def test_what_is_no_key_map_is_refused(trained):
    wrong = PART.replace("published = (", "published = dict(a=1) if 1 else (")
    with pytest.raises(ConfigError, match=r"OwnEncoder: found published=\{'a': 1\}, wants a tuple"):
        trained("sam_finetune.py", wrong, MODEL, None)
