"""Training of a model that prompts itself and is corrected by a person where it errs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.models.prompts import Features, Prompts
from echozoo.models.segmentors.base import frames_of
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.models.segmentors.prompted import references_of
from echozoo.models.segmentors.wrong_points import worst_points
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

_NOISE_SIZE = 16  # places of the noise along a side of the image
_BENDS = 5  # places along a side of the image by which outlines are bent


@MODELS.register_module()
class AutomaticSegmentor(PromptableSegmentor):
    """`PromptableSegmentor` that learns with and without prompts, and from coarse masks that err.

    The coarse network has seen the training images, so its masks are better there than they will
    be: smooth noise on its log odds moves their outlines, and some steps are without them. Some
    structures get a box. Some steps get clicks, round by round as a person would give them, each
    where the last mask is most wrong; the loss is of the last round. In these steps the coarse
    masks are bent too, so that there is something to correct. Each process draws for itself.

    Args:
        clicked: Share of the steps with clicks.
        boxed: Share of the structures that get the samples' boxes.
        max_clicks: A step with clicks has from one to so many rounds.
        noise: Largest standard deviation of the noise on the coarse log odds; each structure's is
            drawn from 0 to that.
        bend: Largest standard deviation of what the outlines are bent by in steps with clicks, as
            a share of the image's side; each structure's is drawn from 0 to that.
        without_coarse: Share of the steps without coarse masks.
        **kwargs: `PromptableSegmentor`'s, with a `LearntPromptHead`.
    """

    def __init__(
        self,
        clicked: float = 0.6,
        boxed: float = 0.25,
        max_clicks: int = 4,
        noise: float = 4.0,
        bend: float = 0.06,
        without_coarse: float = 0.2,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.clicked, self.boxed, self.max_clicks = clicked, boxed, max_clicks
        self.noise, self.bend, self.without_coarse = noise, bend, without_coarse

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[EchoDataSample] | None = None,
        mode: str = "tensor",
    ) -> Tensor | dict[str, Tensor] | list[EchoDataSample]:
        """Run as `PromptableSegmentor`, but with ``mode="loss"`` on drawn prompts.

        Args:
            inputs: Scaled clips (B, T, C, H, W).
            data_samples: B samples; in training with boxes.
            mode: "tensor", "loss" or "predict".
        """
        if mode != "loss":
            return super().forward(inputs, data_samples, mode)
        clicks = random.randint(1, self.max_clicks) if random.random() < self.clicked else 0
        features = self.encode(frames_of(inputs), num_frames=inputs.shape[1])
        features = self._spoilt(features, self.bend if clicks else 0)
        structures = len(data_samples[0].structures)
        masks, labelled = references_of(data_samples, structures, inputs.shape[-2:])
        boxes = Prompts.of_samples(data_samples, ("boxes",)).boxes
        absent = torch.rand(boxes.shape[:2], device=boxes.device) >= self.boxed
        prompts = Prompts(boxes=boxes.masked_fill(absent[..., None], 0))
        for _ in range(clicks):
            with torch.no_grad():
                logits = self.decode(features, prompts)[0]
            prompts = self._corrected(prompts, logits, masks, labelled)
        return self._loss(self.decode(features, prompts)[0], data_samples, features)

    def _spoilt(self, features: Features, bend: float) -> Features:
        """Features whose coarse masks err, or that have none."""
        coarse = features.extra.get("coarse")
        if coarse is None:
            return features
        if random.random() < self.without_coarse:
            return replace(
                features, extra={k: v for k, v in features.extra.items() if k != "coarse"}
            )
        coarse = _bent(coarse, bend) if bend else coarse
        noise = _smooth_noise(coarse.flatten(0, 1)[:, None], _NOISE_SIZE, self.noise)
        coarse = coarse + noise.view_as(coarse)
        return replace(features, extra={**features.extra, "coarse": coarse})

    @staticmethod
    def _corrected(prompts: Prompts, logits: Tensor, masks: Tensor, labelled: Tensor) -> Prompts:
        """The prompts, and one click more a structure where its mask is most wrong."""
        points, labels = worst_points(logits, masks, labelled)
        if prompts.points is not None:
            points = torch.cat([prompts.points, points], 2)
            labels = torch.cat([prompts.labels, labels], 2)
        return replace(prompts, points=points, labels=labels)


def _bent(masks: Tensor, most: float) -> Tensor:
    """Masks (N, K, h, w) whose outlines are bent, each by its own smooth displacement."""
    flat = masks.flatten(0, 1)[:, None]  # N * K, 1, h, w
    # A grid's coordinates go from -1 to 1: twice a share of the side.
    moved = _smooth_noise(flat.expand(-1, 2, -1, -1), _BENDS, 2 * most)
    still = F.affine_grid(
        torch.eye(2, 3, device=masks.device).expand(len(flat), -1, -1),
        list(flat.shape),
        align_corners=False,
    )
    grid = still + moved.movedim(1, -1)
    bent = F.grid_sample(flat.float(), grid, padding_mode="border", align_corners=False)
    return bent.to(masks.dtype).view_as(masks)


def _smooth_noise(like: Tensor, places: int, most: float) -> Tensor:
    """Noise (M, C, h, w) from values at few places; each M has its own spread, up to ``most``."""
    noise = torch.randn(*like.shape[:2], places, places, device=like.device)
    noise = F.interpolate(noise, like.shape[-2:], mode="bicubic", align_corners=False)
    return most * torch.rand(len(like), 1, 1, 1, device=like.device) * noise
