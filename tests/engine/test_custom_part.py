"""A part of one's own: one file, one decorator, one line in a config; echozoo stays untouched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from echozoo.engine.config_file import load_config
from echozoo.registry import MODELS, TEMPORAL_MODULES

PART = '''
from torch import nn

from echozoo.registry import TEMPORAL_MODULES


@TEMPORAL_MODULES.register_module()
class FrameMean(nn.Module):
    """Every position takes the mean of its frames."""

    def __init__(self, embed_dims, strength=1.0):
        super().__init__()
        self.gate = nn.Linear(embed_dims, 1)
        self.strength = strength

    def forward(self, x, num_frames):
        clips = x.unflatten(0, (-1, num_frames))  # (B * T, H, W, C) -> (B, T, H, W, C)
        mean = clips.mean(dim=1, keepdim=True).expand_as(clips)
        return self.strength * mean.flatten(0, 1)  # (B, T, H, W, C) -> (B * T, H, W, C)
'''


@pytest.fixture
def config(tiny_configs: Path, tmp_path: Path) -> Path:
    (tmp_path / "my_frame_mean.py").write_text(PART)
    path = tmp_path / "samus_frame_mean.py"
    path.write_text(
        f"_base_ = {str(tiny_configs / 'samus_tra.py')!r}\n"
        "custom_imports = dict(imports=['my_frame_mean'])\n"
        "model = dict(backbone=dict(temporal=dict(type='FrameMean', strength=0.5)))\n"
    )
    yield path
    TEMPORAL_MODULES.module_dict.pop("FrameMean", None)
    sys.modules.pop("my_frame_mean", None)
    sys.path.remove(str(tmp_path))


def test_a_config_names_a_part_beside_it(config):
    model = MODELS.build(load_config(config).model)
    parts = [m for m in model.modules() if type(m).__name__ == "FrameMean"]
    assert parts
    assert {part.strength for part in parts} == {0.5}
    assert parts[0].gate.in_features == model.backbone.embed_dims
