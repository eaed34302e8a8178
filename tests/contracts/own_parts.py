"""A user's own file with a part of every kind: what `test_own_file.py` runs these tests on.

``FAULTY`` in the environment names the faults that they have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from echozoo.datasets.film_dataset import FilmDataset
from echozoo.datasets.films import FilmFiles
from echozoo.films.io import write_volume
from echozoo.models.memories.state import Movable
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import (
    ADAPTERS,
    DATASETS,
    MEMORIES,
    METRICS,
    MODELS,
    PROMPT_HEADS,
    TEMPORAL_MODULES,
)
from echozoo.structures import EchoDataSample

FAULTS = os.environ.get("FAULTY", "").split()
VALUES = {"lv": 7, "la": 40}


def write_clinic(folder: Path) -> dict:
    """Ten films of four frames; two of them have masks."""
    rng = np.random.default_rng(0)
    for patient in range(10):
        images = rng.integers(0, 255, (4, 20, 30)).astype(np.uint8)
        masks = np.zeros((2, 20, 30), np.uint8)
        masks[:, 4:9, 4:9], masks[:, 12:16, 5:9] = 7, 40
        write_volume(folder / f"p{patient}.nii.gz", images, (0.5, 0.4))
        write_volume(folder / f"p{patient}_masks.nii.gz", masks, (0.5, 0.4))
    return dict(data_root=str(folder))


contract = dict(
    OwnGate=(dict(strength=2.0), dict(strength=-1.0)),
    OwnHead=dict(channels=4),
    OwnMemory=dict(prompt_dims=3),
    OwnClinic=write_clinic,
)


@TEMPORAL_MODULES.register_module()
class OwnGate(nn.Module):
    """A share of the mean of the clip."""

    def __init__(self, embed_dims: int, strength: float) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(embed_dims))
        self.strength = strength

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        clips = x.unflatten(0, (-1, num_frames))
        mean = clips.mean((0, 1) if "batch" in FAULTS else 1, keepdim=True)
        return (clips + self.strength * self.gate * mean).flatten(0, 1)


@MODELS.register_module()
class OwnEncoder(nn.Module):
    """Patches, and the mean of each clip's."""

    out_channels, stride, sees = 6, 16, "frame" if "sees" in FAULTS else "clip"

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 16, stride=16)
        self.scale = torch.ones(6, 1, 1)
        if "device" not in FAULTS:
            self.register_buffer("scale", self.__dict__.pop("scale"))

    def forward(self, images: Tensor, num_frames: int) -> Tensor:
        clips = (self.patches(images) * self.scale).unflatten(0, (-1, num_frames))
        return (clips + clips.mean(1, keepdim=True)).flatten(0, 1)


@MODELS.register_module()
class OwnNeck(nn.Module):
    """A convolution."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 1, stride=2 if "grid" in FAULTS else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@PROMPT_HEADS.register_module()
class OwnScribbles(SAMPromptHead):
    """A prompt kind of its own."""

    kinds = ("scribbles",)

    def __init__(self, embed_dims: int, img_size: int, embedding_size: int) -> None:
        super().__init__(embed_dims, img_size, embedding_size)
        self.scribbles = nn.Linear(1, embed_dims)

    def embed(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Features]:
        sparse = self.scribbles(prompts.extra["scribbles"][..., None, None])
        structures = 1 if "structures" in FAULTS else sparse.shape[1]
        dense = torch.zeros_like(features.embedding)[:, None]
        return sparse, dense.expand(-1, structures, -1, -1, -1), features


@MODELS.register_module()
class OwnDecoder(nn.Module):
    """A logit of each position."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.embed_dims = embed_dims
        self.token = nn.Parameter(torch.zeros(1, embed_dims))

    def output_tokens(self) -> Tensor:
        return self.token

    def forward(
        self, features: Features, dense_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        pixels = features.embedding[:, None] + dense + dense_pe
        if "sparse" in FAULTS:
            pixels = pixels + sparse.amax(2)[..., None, None]
        logits = torch.einsum("nkchw,mc->nkmhw", pixels, self.token)
        return logits, logits.mean((-2, -1))


@MODELS.register_module()
class OwnHead(BaseDecodeHead):
    """A convolution of the first map."""

    def __init__(self, in_channels: tuple[int, ...], channels: int, num_classes: int) -> None:
        super().__init__(in_channels[0], channels, num_classes=num_classes, in_index=0)
        self.conv = nn.Conv2d(in_channels[0], channels, 3, padding=1)
        if "idle" in FAULTS:
            self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        return self.cls_seg(self.conv(maps[0]))


@ADAPTERS.register_module()
class OwnGain(nn.Module):
    """A factor for each output."""

    replaces = nn.Linear

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.gain = nn.ParameterList([torch.ones(layer.out_features)])

    def adapter_names(self) -> tuple[str, ...]:
        return ("gain",)

    def forward(self, x: Tensor) -> Tensor:
        return self.gain[0] * F.linear(x, self.weight, self.bias)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        layer = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        layer.weight.copy_(self.gain[0][:, None] * self.weight)
        layer.bias.copy_(self.bias if "merge" in FAULTS else self.gain[0] * self.bias)
        return layer


@dataclass(frozen=True)
class LastMasks(Movable):
    """The masks of the frame before."""

    masks: Tensor


@MEMORIES.register_module()
class OwnMemory(nn.Module):
    """The masks of the frame before, beside the features."""

    def __init__(self, embed_dims: int, prompt_dims: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(embed_dims + 1, prompt_dims, 3, padding=1)
        self.last: Tensor | None = None

    def start(self, batch: int, structures: int, like: Tensor) -> LastMasks:
        return LastMasks(like.new_zeros(batch, structures, *like.shape[-2:]))

    def keys(self, features: Features) -> Features:
        return features

    def read(self, state: LastMasks, keys: Features) -> tuple[Tensor, LastMasks]:
        masks = self.last if "state" in FAULTS else state.masks
        return masks.unsqueeze(2), state

    def prompt(
        self, features: Features, readout: Tensor, state: LastMasks
    ) -> tuple[Tensor, LastMasks]:
        image = features.embedding.unsqueeze(1).expand(-1, readout.shape[1], -1, -1, -1)
        both = torch.cat([image, readout], 2).flatten(0, 1)
        return self.conv(both).unflatten(0, readout.shape[:2]), state

    def write(
        self, state: LastMasks, t, features, keys, masks, permanent=False, given=False
    ) -> LastMasks:
        self.last = F.adaptive_avg_pool2d(masks.sigmoid(), features.size)
        return replace(state, masks=self.last)


@MODELS.register_module()
class OwnLoss(nn.Module):
    """Mean square of the error, over what is labelled."""

    def forward(
        self, logits: Tensor, masks: Tensor, labelled: Tensor | None = None
    ) -> dict[str, Tensor]:
        errors = (logits.sigmoid() - masks).square()  # N, K, h, w
        if labelled is None or "labelled" in FAULTS:
            return {"loss_square": errors.mean()}
        errors = torch.where(labelled[..., None, None], errors, 0)
        return {"loss_square": errors.mean((-2, -1)).sum() / labelled.sum().clamp(min=1)}


@MODELS.register_module()
class OwnMapLoss(nn.Module):
    """Cross entropy."""

    def forward(self, logits: Tensor, labels: Tensor, **_: object) -> Tensor:
        return F.cross_entropy(-logits if "sign" in FAULTS else logits, labels)


@MODELS.register_module()
class OwnFilmLoss(nn.Module):
    """Mean square of the step from frame to frame."""

    def forward(
        self, probabilities: Tensor, samples: Sequence[EchoDataSample], features: Features
    ) -> dict[str, Tensor]:
        steps = probabilities.diff(dim=1).square()  # B, T - 1, K, h, w
        return {"loss_steps": steps.sum() / max(1, steps.numel())}


@DATASETS.register_module()
class OwnClinic(FilmDataset):
    """Films with masks of other values on two of their frames."""

    label_values = {"lv": VALUES["la"], "la": VALUES["lv"]} if "values" in FAULTS else VALUES

    def find_films(self, root: Path) -> Iterator[FilmFiles]:
        for film in sorted(root.glob("p?.nii.gz")):
            file = film.with_name(film.name.replace(".nii", "_masks.nii"))
            patient = "p0" if "patients" in FAULTS else film.name[:2]
            masks = {1: (file, 0), 3: (file, 1)}
            yield self.film(patient, "4CH", film, masks, sequence=film.name[:2])


@METRICS.register_module()
class OwnMetric:
    """Of a kind that is not tested."""
