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
        whole = data["inputs"][0].shape[-2:]
        samples = data.get("data_samples") or [{}] * len(data["inputs"])
        sizes = [sample.get("valid_size", whole) for sample in samples]
        clips = zip(data["inputs"], sizes, strict=True)
        data["inputs"] = torch.stack([self.scale(clip.float(), size) for clip, size in clips])
        return data

    def scale(self, frames: Tensor, valid_size: Sequence[int] | None = None) -> Tensor:
        """Scale grey values alone, for callers that have frames and no samples.

        Args:
            frames: (..., 1, H, W) in [0, 255].
            valid_size: (h, w) of the top left part that is no padding; None is all of it.

        Returns:
            (..., C, H, W).
        """
        if self.minmax:
            frames = _stretch(frames, valid_size or frames.shape[-2:])
        return (frames - self.mean) / self.std


def _stretch(frames: Tensor, valid_size: Sequence[int]) -> Tensor:
    """Stretch each of the frames (..., H, W) by what its top left part (h, w) spans."""
    valid = frames[..., : valid_size[0], : valid_size[1]]
    low = valid.amin((-1, -2), keepdim=True)  # ..., 1, 1
    span = valid.amax((-1, -2), keepdim=True) - low
    # Padding is darker than the darkest pixel, or as dark: 0 again.
    return ((frames - low) / span.clamp(min=1e-6)).clamp(0, 1) * 255
