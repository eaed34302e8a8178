"""A temporal module of one's own, in every encoder."""

from __future__ import annotations

import pytest

PART = """
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
INSERT = "model = dict(backbone=dict({}inserts=[dict(type='OwnMean', at={!r}, when={!r})]))"
# LiteMedSAM has no small size of its own.
TINY_VIT = "embed_dims=(8,) * 4, depths=(1,) * 4, num_heads=(1,) * 4, "


@pytest.mark.parametrize(
    ("base", "at", "when", "settings"),
    [
        ("samus.py", "blocks.*", "before_mlp", ""),
        ("sam_finetune.py", "blocks.1", "before_attention", ""),
        ("lite_medsam.py", "layers.3.blocks.*", "before_attention", TINY_VIT),
        ("unet.py", "encoder.2", "after", ""),
    ],
)
def test_it_trains_in(trained, base, at, when, settings):
    scale, sizes = (None, dict(image_size=(64, 64))) if settings else ("tiny", {})
    run = trained(base, PART, INSERT.format(settings, at, when), scale, **sizes)
    assert run.runner.model.sees == "clip"
    own = {name for name, _ in run.runner.model.named_parameters() if "inserts" in name}
    assert own
    assert own <= run.changed
    assert run.metrics["camus/num_images"] > 0


def test_it_is_samus_own_too(trained):
    run = trained("samus.py", PART, "model = dict(backbone=dict(temporal=dict(type='OwnMean')))")
    assert {name for name, _ in run.runner.model.named_parameters() if "share" in name}
    assert run.runner.model.sees == "clip"
