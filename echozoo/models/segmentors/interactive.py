"""Training as a person would prompt: a first prompt, then clicks where the mask is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from echozoo.errors import ConfigError
from echozoo.models.prompts import Features, Prompts
from echozoo.models.segmentors.base import frames_of
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.models.segmentors.prompted import references_of
from echozoo.models.segmentors.wrong_points import enlarged, wrong_points
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class InteractiveSegmentor(PromptableSegmentor):
    """`PromptableSegmentor` whose training step has rounds of corrections (SAM-Med2D).

    The first prompt is a point or a box, each as often. Then in each round the decoder alone
    learns: it gets new points where its last mask was wrong, and that mask itself; in one round of
    the middle and in the last the mask alone. What is lost in all rounds together is one step of
    the optimiser. Each process draws for itself.

    Args:
        rounds: Of corrections.
        points: How many points a round may give; one of these numbers, each as often.
        **kwargs: `PromptableSegmentor`'s. The loss is called as ``(logits, masks, labelled,
            quality)``, on the input's pixels; there are no ``film_losses``.

    Raises:
        ConfigError: There are ``film_losses``.
    """

    def __init__(self, rounds: int = 8, points: Sequence[int] = (1, 3, 5, 9), **kwargs) -> None:
        super().__init__(**kwargs)
        if self.film_losses:
            raise ConfigError(
                "InteractiveSegmentor: found film_losses, wants none, as its rounds have losses of "
                "images alone; leave them out"
            )
        self.rounds, self.points = rounds, tuple(points)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[EchoDataSample] | None = None,
        mode: str = "tensor",
    ) -> Tensor | dict[str, Tensor] | list[EchoDataSample]:
        """Run as `PromptableSegmentor`, but with ``mode="loss"`` all rounds."""
        if mode != "loss":
            return super().forward(inputs, data_samples, mode)
        features = self.encode(frames_of(inputs), num_frames=inputs.shape[1])
        first = "points" if torch.rand(()) < 0.5 else "boxes"
        prompts = Prompts.of_samples(data_samples, (first,))
        masks, labelled = references_of(data_samples, prompts.batch[1], inputs.shape[-2:])
        losses: dict[str, Tensor] = defaultdict(float)
        logits, quality = self.decode(features, prompts)
        self._add(losses, logits, quality, masks, labelled)
        features = features.detached()
        middle = int(torch.randint(1, max(2, self.rounds - 1), ()))
        for number in range(self.rounds):
            alone = number in (middle, self.rounds - 1)
            prompts = self.correct(logits.detach(), masks, labelled, alone)
            logits, quality = self._redecode(features, prompts)
            self._add(losses, logits, quality, masks, labelled)
        return dict(losses)

    def correct(self, logits: Tensor, masks: Tensor, labelled: Tensor, alone: bool) -> Prompts:
        """Prompts for the next round.

        Args:
            logits: Of the last (N, K, 4h, 4w).
            masks: References (N, K, H, W).
            labelled: Which of them are there (N, K) bool.
            alone: Whether the last mask is all that is given.

        Returns:
            The mask, and points (N, K, P, 2), drawn from the pixels where it is wrong: label 1
            where something is missing, 0 where something is too much. Where nothing is wrong or
            known, points are padding (label -1).
        """
        prompts = Prompts(masks=logits)
        if alone:
            return prompts
        number = self.points[int(torch.randint(len(self.points), ()))]
        points, labels = wrong_points(logits, masks, labelled, number)
        return replace(prompts, points=points, labels=labels)

    def _redecode(self, features: Features, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Decode (N, K, 4h, 4w) and quality (N, K) with an embedding of prompts that is fixed."""
        with torch.no_grad():
            sparse, dense, _ = self.prompt_head.embed(features, prompts)
            positions = self.prompt_head.dense_pe(features.size)
        logits, quality = self.decoder(features, positions, sparse, dense)
        return logits[:, :, 0], quality[:, :, 0]

    def _loss(self, logits: Tensor, samples: Sequence[EchoDataSample]) -> dict[str, Tensor]:
        # Of a validation: of the masks alone, as no quality comes here.
        size = samples[0].gt_labels.shape[-2:]
        masks, labelled = references_of(samples, logits.shape[1], size)
        return self.loss_function(enlarged(logits.float(), size), masks, labelled)

    def _add(
        self,
        losses: dict[str, Tensor],
        logits: Tensor,
        quality: Tensor,
        masks: Tensor,
        labelled: Tensor,
    ) -> None:
        logits = enlarged(logits.float(), masks.shape[-2:])
        for name, value in self.loss_function(logits, masks, labelled, quality.float()).items():
            losses[name] = losses[name] + value
