"""What a clip's masks cost where they flicker: no labels needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.evaluation.limits import load_limits
from echozoo.models.prompts import Features
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class TemporalSmoothness(nn.Module):
    """Areas and centres of soft masks that are too far from the mean of their neighbours'.

    The measure of consistency (N. Painchaud et al., IEEE TMI 2022; see
    `echozoo.evaluation.functional.temporal`), made differentiable: areas are sums of
    probabilities, centres their centres of mass. With a frame's error e and the measure's threshold
    tau, both in cm2 or mm, a frame costs max(|e| - tau, 0) / tau: constant speed costs nothing, nor
    does what the measure forgives. A film loss, see `FilmLosses`: frames without labels teach,
    too. Frames count where the clip shows both neighbours in the film. Clips of unknown
    spacing count where there are no limits. An augmentation that enlarges the picture is not taken
    back: areas are then taken for larger than they are.

    Args:
        weight: Of the loss.
        limits: As for `TemporalConsistencyMetric`; of them the areas of cavity and wall and the
            centre of both are looked at. None for no threshold: areas and centres of every
            structure by themselves, relative to its mean area and the root of that.

    Raises:
        ConfigError: The limits cannot be read, or have none of these attributes.
    """

    def __init__(self, weight: float = 1.0, limits: str | dict | None = "camus") -> None:
        super().__init__()
        self.weight, self.tolerances = weight, None
        if limits is not None:
            known = load_limits(limits).attributes
            self.tolerances = {key: known[key].tolerance for key in _SOFT if key in known}
            if not self.tolerances:
                raise ConfigError(f"TemporalSmoothness: limits for none of {', '.join(_SOFT)}")

    def forward(
        self,
        probabilities: Tensor,
        samples: Sequence[EchoDataSample],
        features: Features | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss of B clips.

        Args:
            probabilities: (B, T, K, h, w) in [0, 1]. T = 1 is legal and costs nothing.
            samples: Their ``frames``, ``structures``, ``spacing`` and sizes.
            features: Not looked at.

        Returns:
            ``loss_smoothness``, a scalar: mean over frames and attributes.
        """
        costs = [
            cost
            for clip, sample in zip(probabilities.float(), samples, strict=True)
            for cost in self._costs(clip, sample)
        ]
        if not costs:
            return {"loss_smoothness": 0 * probabilities.sum()}
        return {"loss_smoothness": self.weight * torch.cat(costs).mean()}

    def _costs(self, clip: Tensor, sample: EchoDataSample) -> Iterator[Tensor]:
        """What the attributes of a clip (T, K, h, w) cost, each (n,)."""
        inner = torch.tensor(inner_frames(sample.frames), device=clip.device)
        if not len(inner) or (self.tolerances and sample.spacing is None):
            return
        for values, tolerance in self._attributes(clip, sample):
            bends = values[inner] - (values[inner - 1] + values[inner + 1]) / 2
            if tolerance:
                yield (bends.abs() - tolerance).clamp(min=0) / tolerance
            else:
                yield bends.abs()

    def _attributes(self, clip: Tensor, sample: EchoDataSample) -> Iterator[tuple[Tensor, float]]:
        """Values (T,) of the soft attributes, and how far they may be off."""
        dy, dx = pixel_size(sample, clip.shape[-2:])
        if self.tolerances is None:
            for masks in clip.unbind(1):
                area, y, x = moments(masks, dy, dx)
                typical = area.detach().mean().clamp(min=1e-6)
                yield area / typical, 0.0
                for centre in (y, x):
                    yield centre / typical.sqrt(), 0.0
            return
        masks = {name: clip[:, k] for k, name in enumerate(sample.structures)}
        found = {}
        for name in {"lv", "myo"} & {*masks}:
            found[f"{name}_area_cm2"] = moments(masks[name], dy, dx)[0] / 100
        if {"lv", "myo"} <= {*masks}:
            _, y, x = moments((masks["lv"] + masks["myo"]).clamp(max=1), dy, dx)
            found |= {"epi_center_x_mm": x, "epi_center_y_mm": y}
        for key, tolerance in self.tolerances.items():
            if key in found:
                yield found[key], tolerance


_SOFT = ("lv_area_cm2", "myo_area_cm2", "epi_center_x_mm", "epi_center_y_mm")


def inner_frames(frames: Sequence[int]) -> list[int]:
    """Places of a clip whose two neighbours there are the frame's neighbours in the film."""
    steps = [after - before for before, after in zip(frames, frames[1:], strict=False)]
    pairs = enumerate(zip(steps, steps[1:], strict=False), start=1)
    return [place for place, pair in pairs if pair in ((1, 1), (-1, -1))]


def moments(masks: Tensor, dy: float, dx: float) -> tuple[Tensor, Tensor, Tensor]:
    """Areas and centres (y, x) of soft masks (T, h, w), each (T,), in the pixels' unit."""
    rows, columns = masks.sum(2), masks.sum(1)  # (T, h), (T, w)
    total = rows.sum(1)
    y, x = (
        (pixels * torch.arange(pixels.shape[1], device=masks.device)).sum(1) * step
        for pixels, step in ((rows, dy), (columns, dx))
    )
    # A mask of less than a pixel has no place: it would move far for nothing.
    weight = total.clamp(min=1)
    return total * dy * dx, y / weight, x / weight


def pixel_size(sample: EchoDataSample, size: Sequence[int]) -> tuple[float, float]:
    """Height and width of a pixel of logits (h, w) on the film, in mm; in its pixels if unknown."""
    spacing = sample.get("spacing") or (1.0, 1.0)
    sizes = (sample.native_size, sample.valid_size, sample.input_size, size)
    dy, dx = (
        step * native / valid * whole / side
        for step, native, valid, whole, side in zip(spacing, *sizes, strict=True)
    )
    return dy, dx
