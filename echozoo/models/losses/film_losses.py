"""What clips cost beside the loss of each labelled frame."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from echozoo.models.prompts import Features
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


class FilmLosses(nn.ModuleList):
    """Losses that look at whole clips, labelled or not, and what they learn for that.

    Each is called as ``(probabilities (B, T, K, h, w), samples, features)``, the features of the
    B * T frames with their images, and gives scalars by name.

    Args:
        cfgs: Of the losses; none is legal.
    """

    def __init__(self, cfgs: Sequence[dict] = ()) -> None:
        super().__init__(MODELS.build(cfg) for cfg in cfgs)

    def forward(
        self, probabilities: Tensor, samples: Sequence[EchoDataSample], features: Features
    ) -> dict[str, Tensor]:
        """Compute all of them.

        Args:
            probabilities: Of K structures in the frames of B clips, (B * T, K, h, w) in [0, 1].
            samples: B samples.
            features: Of the frames.
        """
        clips = probabilities.unflatten(0, (len(samples), -1))  # B, T, K, h, w
        found: dict[str, Tensor] = {}
        for loss in self:
            found |= loss(clips, samples, features)
        return found
