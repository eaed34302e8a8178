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
from echozoo.models.segmentors.interactive import wrong_points
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.models.segmentors.prompted import references_of
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

_NOISE_SIZE = 16  # places of the noise along a side of the image


@MODELS.register_module()
class AutomaticSegmentor(PromptableSegmentor):
    """`PromptableSegmentor` that learns with and without prompts, and from coarse masks that err.

    The coarse network has seen the training images, so its masks are better there than they will
    be: smooth noise on its log odds moves their outlines, and some steps are without them. Some
    structures get a click where the coarse mask is wrong (anywhere inside without one), some a box.
    Each process draws for itself.

    Args:
        clicked: Share of the structures that get clicks in training.
        boxed: Share that get the samples' boxes.
        max_clicks: Each step has from one to so many clicks a structure.
        noise: Largest standard deviation of the noise on the coarse log odds; each structure's is
            drawn from 0 to that.
        without_coarse: Share of the steps without coarse masks.
        **kwargs: `PromptableSegmentor`'s, with a `LearntPromptHead`.
    """

    def __init__(
        self,
        clicked: float = 0.25,
        boxed: float = 0.25,
        max_clicks: int = 3,
        noise: float = 4.0,
        without_coarse: float = 0.2,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.clicked, self.boxed, self.max_clicks = clicked, boxed, max_clicks
        self.noise, self.without_coarse = noise, without_coarse

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
        features = self._spoilt(self.encode(frames_of(inputs), num_frames=inputs.shape[1]))
        structures = len(data_samples[0].structures)
        masks, labelled = references_of(data_samples, structures, inputs.shape[-2:])
        boxes = Prompts.of_samples(data_samples, ("boxes",)).boxes
        prompts = self._drawn(features, masks, labelled, boxes)
        return self._loss(self.decode(features, prompts)[0], data_samples, features)

    def _spoilt(self, features: Features) -> Features:
        """Features whose coarse masks err, or that have none."""
        coarse = features.extra.get("coarse")
        if coarse is None:
            return features
        if random.random() < self.without_coarse:
            return replace(
                features, extra={k: v for k, v in features.extra.items() if k != "coarse"}
            )
        noise = torch.randn(*coarse.shape[:2], _NOISE_SIZE, _NOISE_SIZE, device=coarse.device)
        noise = F.interpolate(noise, coarse.shape[-2:], mode="bicubic", align_corners=False)
        spread = self.noise * torch.rand(*coarse.shape[:2], 1, 1, device=coarse.device)
        return replace(features, extra={**features.extra, "coarse": coarse + spread * noise})

    def _drawn(self, features: Features, masks: Tensor, labelled: Tensor, boxes: Tensor) -> Prompts:
        """Clicks for some of the structures, boxes for some; padding for all others."""
        coarse = features.extra.get("coarse")
        coarse = masks.new_full((*masks.shape[:2], 1, 1), -1.0) if coarse is None else coarse
        number = random.randint(1, self.max_clicks)
        points, labels = wrong_points(coarse, masks, labelled, number)
        chance = torch.rand(2, *masks.shape[:2], device=masks.device)
        labels = labels.masked_fill((chance[0] >= self.clicked)[..., None], -1)
        boxes = boxes.masked_fill((chance[1] >= self.boxed)[..., None], 0)
        return Prompts(points=points, labels=labels, boxes=boxes)
