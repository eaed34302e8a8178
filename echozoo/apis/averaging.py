"""The mean of several models, or of what one sees in a film and in its mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echozoo.apis.model import LoadedModel
from echozoo.errors import ConfigError
from echozoo.models.segmentors.predictions import attach_chances
from echozoo.structures import EchoDataSample


class AveragedModel:
    """Automatic models whose probabilities are averaged on the film's grid.

    Post-processing, the view and all else are the first model's: attributes that are not here are
    its own.

    Args:
        members: Of the same structures, and with clips of the same length.
        flip: Whether each also sees the frames mirrored, left and right.

    Raises:
        ConfigError: They do not go together.
    """

    understands = ()  # clicks would reach the first alone

    def __init__(self, members: Sequence[LoadedModel], flip: bool = False) -> None:
        self.members, self.flip = tuple(members), flip
        first = self.members[0]
        for one in self.members:
            name = one.cfg.filename
            if not one.automatic:
                raise ConfigError(f"{name}: it needs prompts: only automatic models are averaged")
            if (one.structures, one.clip_length) != (first.structures, first.clip_length):
                raise ConfigError(
                    f"{name}: {', '.join(one.structures)} in clips of {one.clip_length}, wanted"
                    f" those of {first.cfg.filename}: {', '.join(first.structures)} in clips of"
                    f" {first.clip_length}"
                )

    def __getattr__(self, name: str) -> Any:
        if name == "members":  # not yet there while it is copied
            raise AttributeError(name)
        return getattr(self.members[0], name)

    @torch.inference_mode()
    def predict(
        self,
        frames: np.ndarray,
        spacing: tuple[float, float] | None = None,
        places: Sequence[int] | None = None,
    ) -> EchoDataSample:
        """As `LoadedModel.predict`."""
        total: Tensor | float = 0.0
        for one in self.members:
            total = total + one.chances(frames, spacing)
            if self.flip:
                mirrored = np.ascontiguousarray(frames[..., ::-1])
                total = total + one.chances(mirrored, spacing).flip(-1)
        chances = total / (len(self.members) * (1 + self.flip))  # (n, K + 1, H0, W0)
        sample = EchoDataSample(
            metainfo=dict(
                sequence="a film",
                frames=tuple(range(len(frames)) if places is None else places),
                spacing=spacing,
                structures=self.structures,
            )
        )
        attach_chances(sample, chances, self.model.postprocessing)
        return sample
