"""A memory of one's own: the masks of the frame before, beside the features."""

from __future__ import annotations

import torch

from echozoo.structures import EchoDataSample

PART = """
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from echozoo.models.memories.state import Movable
from echozoo.registry import MEMORIES


@dataclass(frozen=True)
class LastMasks(Movable):
    masks: Tensor


@MEMORIES.register_module()
class OwnLastMasks(nn.Module):
    def __init__(self, embed_dims, prompt_dims):
        super().__init__()
        self.conv = nn.Conv2d(embed_dims + 1, prompt_dims, 3, padding=1)

    def start(self, batch, structures, like):
        return LastMasks(like.new_zeros(batch, structures, *like.shape[-2:]))

    def keys(self, features):
        return features

    def read(self, state, keys):
        return state.masks.unsqueeze(2), state

    def prompt(self, features, readout, state):
        image = features.embedding.unsqueeze(1).expand(-1, readout.shape[1], -1, -1, -1)
        both = torch.cat([image, readout], 2).flatten(0, 1)
        return self.conv(both).unflatten(0, readout.shape[:2]), state

    def write(self, state, t, features, keys, masks, permanent=False, given=False):
        return replace(state, masks=F.adaptive_avg_pool2d(masks.sigmoid(), features.size))
"""
CONFIG = "model = dict(memory=dict(type='OwnLastMasks', embed_dims=64, prompt_dims=32))"


def sample(frames: int) -> EchoDataSample:
    """A clip of three structures, with their masks given in its first frame."""
    one = EchoDataSample(metainfo=dict(structures=("lv", "myo", "la")))
    one.gt_labels = torch.zeros(frames, 96, 96, dtype=torch.uint8)
    one.gt_labels[:, 8:48, 8:48] = 1
    one.mask_prompts = torch.where(one.gt_labels[:, None] == 1, 9.0, -9.0).repeat(1, 3, 1, 1)
    return one


def test_it_trains_and_frames_depend_on_earlier_ones(trained):
    run = trained("_base_/memory.py", PART, CONFIG)
    model = run.runner.model
    assert model.sees == "clip"
    assert "memory.conv.weight" in run.changed
    assert run.metrics["camus/num_images"] > 0
    model.eval()
    clip = torch.rand(1, 4, 3, 96, 96)
    with torch.no_grad():
        before = model(clip, [sample(4)])
        clip[:, 1] = 0
        after = model(clip, [sample(4)])
    changed = (before - after).abs().amax((1, 2, 3))
    assert (changed[2:] > 0).all()
    # A pair without a label counts in no loss, whatever its masks are.
    partly, other = sample(4), sample(4)
    for one in (partly, other):
        one.labelled = torch.ones(4, 3, dtype=torch.bool)
        one.labelled[2] = False
    other.gt_labels[2] = 3
    assert model(clip, [partly], mode="loss") == model(clip, [other], mode="loss")
    other.gt_labels[3] = 3
    assert model(clip, [partly], mode="loss") != model(clip, [other], mode="loss")
