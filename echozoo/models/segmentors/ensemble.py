"""The mean of several trained models, as a model that is tested."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models import contracts
from echozoo.models.checkpoints import load_published
from echozoo.models.segmentors.predictions import attach_chances, chances_of
from echozoo.models.segmentors.whole_films import WholeFilms
from echozoo.postprocessing import Postprocessing
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class Ensemble(WholeFilms, BaseModel):
    """Averages the probabilities of models without prompts on the grid of the image file.

    ``echozoo test RUN --average RUN ...`` makes one. It is tested, never trained.

    Args:
        members: Of each its ``model``, a config, and ``weights``, a file.
        postprocessing: Steps on the mean (see `echozoo.postprocessing`); the members' own are left
            out.

    Raises:
        CheckpointError: A file has not all weights of its model.
        ConfigError: A member needs prompts.
    """

    def __init__(self, members: Sequence[dict], postprocessing: Sequence[dict] = ()) -> None:
        grey = dict(type="EchoDataPreprocessor", std=(1.0,))  # each scales grey values its own way
        super().__init__(MODELS.build(grey))
        self.members = nn.ModuleList(_trained(**member) for member in members)
        self.postprocessing = Postprocessing(postprocessing)

    @property
    def sees(self) -> str:
        """Whether a frame's result depends on others for one of the members: "clip"."""
        return "clip" if "clip" in map(contracts.sees, self.members) else "frame"

    def forward(
        self, inputs: Tensor, data_samples: Sequence[EchoDataSample], mode: str = "predict"
    ) -> list[EchoDataSample]:
        """Predict clips.

        Args:
            inputs: (B, T, 1, H, W), grey values 0 to 255.
            data_samples: B samples.
            mode: "predict".

        Returns:
            The samples, with ``pred_masks`` (T, K, H0, W0) and ``pred_labels`` (T, H0, W0).

        Raises:
            ConfigError: Any other mode.
        """
        if mode != "predict":
            raise ConfigError(f"Ensemble: mode={mode!r}, wanted 'predict': it is tested alone")
        for clip, sample in zip(inputs, data_samples, strict=True):
            seen = [self._chances(member, clip, sample) for member in self.members]
            attach_chances(sample, torch.stack(seen).mean(0), self.postprocessing)
        return list(data_samples)

    @staticmethod
    def _chances(member: nn.Module, clip: Tensor, sample: EchoDataSample) -> Tensor:
        """What a member sees in a clip (T, 1, H, W): (T, K + 1, H0, W0)."""
        scaled = member.data_preprocessor.scale(clip, sample.valid_size)  # (T, C, H, W)
        return chances_of(member(scaled[None], [sample], mode="tensor"), sample)


def _trained(model: dict, weights: str) -> nn.Module:
    built = MODELS.build({**model, "pretrained": None})
    if getattr(getattr(built, "prompt_head", None), "kinds", ()):
        raise ConfigError(f"{weights}: its model needs prompts: only automatic ones are averaged")
    report = load_published(built, weights)
    if report.left:
        raise CheckpointError(f"{report}: give the weights of the whole model")
    return built
