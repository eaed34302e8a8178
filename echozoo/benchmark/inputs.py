"""Random batches that every side gets alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echozoo.benchmark.setting import Setting, Shape, image_size
from echozoo.models.segmentors.base import frames_of
from echozoo.structures import EchoDataSample


@dataclass(frozen=True)
class Batch:
    """Scaled clips, and samples with one click a structure, boxes, and labels.

    Attributes:
        clips: (B, T, C, H, W).
        samples: B samples.
    """

    clips: Tensor
    samples: list[EchoDataSample]

    @property
    def images(self) -> Tensor:
        """All frames, (B * T, C, H, W)."""
        return frames_of(self.clips)

    @property
    def points(self) -> Tensor:
        """All clicks, (B * T, K, 1, 2) as (x, y)."""
        return torch.cat([sample.points for sample in self.samples])

    @property
    def point_labels(self) -> Tensor:
        """What they say, (B * T, K, 1)."""
        return torch.cat([sample.point_labels for sample in self.samples])


def make_batch(setting: Setting, model: nn.Module, shape: Shape) -> Batch:
    """Draw a batch.

    Args:
        setting: Its seed determines the batch.
        model: The config's model, or its `outline`.
        shape: Clips and frames.
    """
    draw = torch.Generator().manual_seed(setting.seed)
    height, width = image_size(setting)
    structures = num_structures(model)
    size = (shape.clips, shape.frames, len(model.data_preprocessor.mean), height, width)
    clips = torch.rand(size, generator=draw).to(setting.device)
    samples = []
    for _ in range(shape.clips):
        clicks = torch.rand(shape.frames, structures, 2, generator=draw) * 0.5 + 0.25
        points = (clicks * torch.tensor([width, height])).floor()
        sample = EchoDataSample(
            metainfo=dict(input_size=(height, width), valid_size=(height, width))
        )
        sample.points = points[:, :, None]
        sample.point_labels = torch.ones(shape.frames, structures, 1, dtype=torch.long)
        sample.boxes = torch.cat([points - width / 8, points + width / 8], -1)
        sample.gt_labels = _labels(shape.frames, height, width)
        samples.append(sample.to(setting.device))
    return Batch(clips, samples)


def num_structures(model: nn.Module) -> int:
    """How many prompts an image needs: one for each structure that the model names, at least one.

    Args:
        model: A segmentor, or its `outline`.
    """
    names = getattr(getattr(model, "prompt_head", None), "names", None)
    return 1 if names is None else len(names.weight)


def _labels(frames: int, height: int, width: int) -> Tensor:
    """Label maps (T, H, W): three discs inside one another."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)
    radius = (x.square() + y.square()).sqrt()
    labels = (radius < 0.3).int() + (radius < 0.5).int() + (radius < 0.7).int()
    return labels.to(torch.uint8).expand(frames, height, width).clone()
