"""A memory of one's own is one class and one config."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from echozoo.models.memories.state import Movable
from echozoo.registry import MEMORIES, MODELS
from echozoo.structures import EchoDataSample


@dataclass(frozen=True)
class LastMasks(Movable):
    masks: Tensor


class LastMaskMemory(nn.Module):
    """The masks of the frame before, beside the features."""

    def __init__(self, embed_dims: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(embed_dims + 1, embed_dims, 3, padding=1)

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


@pytest.fixture
def model():
    init_default_scope("echozoo")
    MEMORIES.register_module(module=LastMaskMemory, force=True)
    torch.manual_seed(0)
    yield MODELS.build(
        dict(
            type="StreamSegmentor",
            backbone=dict(type="ResNetTrunk", depth=18, base_channels=4),
            memory=dict(type="LastMaskMemory"),
            decoder=dict(
                type="MemoryMaskDecoder", in_channels=16, widths=(16, 8, 8), skip_channels=(8, 4)
            ),
            loss=dict(type="DiceCELoss"),
            prompted=(),
        )
    )
    MEMORIES.module_dict.pop("LastMaskMemory")


def samples(batch: int, frames: int) -> list[EchoDataSample]:
    made = []
    for _ in range(batch):
        sample = EchoDataSample(metainfo=dict(structures=("lv", "myo")))
        sample.gt_labels = torch.zeros(frames, 32, 32, dtype=torch.uint8)
        sample.gt_labels[:, 8:16, 8:16] = 1
        made.append(sample)
    return made


def test_it_trains_through_time(model):
    losses = model(torch.rand(2, 3, 1, 32, 32), samples(2, 3), mode="loss")
    sum(losses.values()).backward()
    assert model.memory.conv.weight.grad.abs().sum() > 0


def test_a_frame_depends_on_the_one_before(model):
    model.eval()
    clip = torch.rand(1, 3, 1, 32, 32)
    before = model(clip, samples(1, 3)).unflatten(0, (1, 3))
    clip[:, 0] = 0
    after = model(clip, samples(1, 3)).unflatten(0, (1, 3))
    assert before.shape == (1, 3, 2, 32, 32)
    assert (before[:, 2] - after[:, 2]).abs().max() > 0


def test_frames_without_labels_count_in_no_loss(model):
    clip = torch.rand(1, 3, 1, 32, 32)
    batch = samples(1, 3)
    batch[0].labelled = torch.tensor([[True, True], [False, True], [True, True]])
    torch.manual_seed(0)
    before = model(clip, batch, mode="loss")
    batch[0].gt_labels[1] = 1 - batch[0].gt_labels[1]  # the unlabelled structure, other masks
    after = model(clip, batch, mode="loss")
    assert before == after
    batch[0].gt_labels[2] = 1 - batch[0].gt_labels[2]
    assert before != model(clip, batch, mode="loss")
