"""From a list of clips to one scaled batch on the model's device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from echozoo.errors import ConfigError
from echozoo.registry import MODELS


@MODELS.register_module()
class EchoDataPreprocessor(BaseDataPreprocessor):
    """Stack the clips of a batch and scale their grey values.

    Args:
        mean: Subtracted from grey values in [0, 255]; one value, or one a channel. With three
            values the grey image becomes three channels, each scaled on its own (SAM).
        std: What the difference is divided by; as many values as ``mean``.
        minmax: Whether to stretch the grey values of each frame to all of [0, 255] first, from its
            darkest to its brightest pixel (LiteMedSAM). Padding, which ``valid_size`` of the
            sample tells apart, does not count and stays 0; so does a frame of one grey value.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (255.0,),
        minmax: bool = False,
    ) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ConfigError(
                f"EchoDataPreprocessor: {len(mean)} values in mean and {len(std)} in std; "
                "give as many of one as of the other"
            )
        self.minmax = minmax
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Stack and scale.

        Args:
            data: ``inputs``, a list of B tensors (T, 1, H, W) in [0, 255], and ``data_samples``.
                Without samples, nothing of the clips is taken for padding.
            training: Unused; part of mmengine's interface.

        Returns:
            The same keys, ``inputs`` now (B, T, C, H, W) float32, C the number of means.

        Raises:
            ConfigError: The clips differ in length or size, so that no batch can be made of them.
        """
        data = self.cast_data(data)
        shapes = {tuple(clip.shape) for clip in data["inputs"]}
        if len(shapes) > 1:
            raise ConfigError(
                f"a batch holds clips of different shapes, {sorted(shapes)} (T, C, H, W): "
                "set batch_size=1, or a clip_length, for this data loader"
            )
        inputs = torch.stack(list(data["inputs"])).float()  # (B, T, 1, H, W)
        if self.minmax:
            samples = data.get("data_samples") or [{}] * len(inputs)
            sizes = [sample.get("valid_size", inputs.shape[-2:]) for sample in samples]
            pairs = zip(inputs, sizes, strict=True)
            inputs = torch.stack([_stretch(clip, size) for clip, size in pairs])
        data["inputs"] = (inputs - self.mean) / self.std  # (B, T, C, H, W)
        return data


def _stretch(clip: Tensor, valid_size: Sequence[int]) -> Tensor:
    """Stretch each frame of a clip (T, 1, H, W) by what its top left part (h, w) spans."""
    valid = clip[..., : valid_size[0], : valid_size[1]]
    low = valid.amin((-1, -2), keepdim=True)  # T, 1, 1, 1
    span = valid.amax((-1, -2), keepdim=True) - low
    return ((clip - low) / span.clamp(min=1e-6)).clamp(0, 1) * 255
