"""The segmentor that learns shapes: a label map in, the same label map out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor

from echozoo.errors import ConfigError, DataError
from echozoo.evaluation.functional.attributes import frame_attributes
from echozoo.models.losses.base import soft_dice_loss
from echozoo.models.losses.temporal_smoothness import pixel_size
from echozoo.models.segmentors.predictions import attach_label_map
from echozoo.models.shapes.autoencoder import ShapeDecoder, ShapeEncoder, one_hot
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

STRUCTURES = ("lv", "myo")
# Those that the first codes are tied to, in the published order.
ATTRIBUTES = (
    *("lv_area_cm2", "lv_base_width_mm", "lv_length_mm", "lv_orientation_deg"),
    *("myo_area_cm2", "epi_center_x_mm", "epi_center_y_mm"),
)
_SHARP = 16.0  # how soon a difference of codes is taken for one


@MODELS.register_module()
class ShapeCodes(BaseModel):
    """Variational autoencoder of label maps, whose first codes follow the shape's attributes.

    N. Painchaud et al., "Echocardiography Segmentation with Enforced Temporal Consistency", IEEE
    TMI 2022 (AR-VAE: A. Pati, A. Lerch, 2021): cross entropy and Dice of the map that comes back,
    the codes' divergence from a normal distribution, and for each attribute that the codes of two
    maps differ the way their attributes do. Trains on the labels of a data set, without its
    pictures; a test measures how well shapes come back. `ShapeCodeSmoother` smooths films with it.

    Args:
        widths: Channels of the levels.
        codes: D; the first seven are tied to attributes.
        side: Of the maps, in pixels; the data set's ``image_size``.
        weights: Of cross entropy, Dice, divergence, attributes.
        data_preprocessor: Stacks the clips of a batch.

    Raises:
        ConfigError: ``side`` cannot be halved often enough, or there are fewer codes than
            attributes.
    """

    sees = "frame"

    def __init__(
        self,
        widths: Sequence[int] = (48, 96, 192, 384),
        codes: int = 16,
        side: int = 256,
        weights: Sequence[float] = (0.1, 1.0, 1e-4, 0.1),
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or {"type": "EchoDataPreprocessor"}))
        if side % 2 ** (len(widths) + 1) or codes < len(ATTRIBUTES):
            raise ConfigError(
                f"ShapeCodes: side={side}, codes={codes}; wanted a multiple of"
                f" {2 ** (len(widths) + 1)}, and {len(ATTRIBUTES)} codes or more"
            )
        parts = (len(STRUCTURES) + 1, tuple(widths), codes, side)
        self.encoder, self.decoder = ShapeEncoder(*parts), ShapeDecoder(*parts)
        self.side, self.weights = side, tuple(weights)
        # Least and largest codes of the last epoch of training.
        self.register_buffer("bounds", torch.tensor([[torch.inf], [-torch.inf]]).repeat(1, codes))
        self._epoch: int | None = None

    def encode_maps(self, labels: Tensor) -> Tensor:
        """Mean codes (N, D) of label maps (N, side, side): 0, 1 cavity, 2 wall."""
        return self.encoder(one_hot(labels, len(STRUCTURES) + 1))[0]

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[EchoDataSample] | None = None,
        mode: str = "tensor",
    ) -> Tensor | dict[str, Tensor] | list[EchoDataSample]:
        """Take label maps apart and put them together again; logits are (B * T, 3, H, W).

        Clips (B, T, C, H, W) are not looked at, only the samples' labels of both structures.

        Raises:
            ConfigError: The structures or the size are others.
            DataError: A batch to train on has no labelled map.
        """
        labels, known = self._labels(data_samples)
        if mode == "loss":
            spacings = [
                pixel_size(one, labels.shape[-2:]) for one in data_samples for _ in one.gt_labels
            ]
            return self._loss(labels[known], [s for s, k in zip(spacings, known, strict=True) if k])
        logits = self.decoder(self.encode_maps(labels))  # (B * T, 3, H, W)
        if mode == "tensor":
            return logits
        clips = logits.split([len(sample.gt_labels) for sample in data_samples])
        for sample, clip in zip(data_samples, clips, strict=True):
            attach_label_map(sample, clip)
        return list(data_samples)

    def _labels(self, samples: Sequence[EchoDataSample]) -> tuple[Tensor, Tensor]:
        """Label maps (N, H, W) of a batch, and which of them are there (N,)."""
        for sample in samples:
            found = tuple(sample.structures), tuple(sample.gt_labels.shape[-2:])
            if found != (STRUCTURES, (self.side, self.side)):
                raise ConfigError(
                    f"ShapeCodes: {', '.join(found[0])} of {found[1]} pixels; wanted structures="
                    f"{STRUCTURES} and image_size=({self.side}, {self.side}) of the data set"
                )
        labels = torch.cat([sample.gt_labels for sample in samples])
        known = (labels < 255).flatten(1).all(1)
        return torch.where(known[:, None, None], labels, 0), known

    def _loss(self, labels: Tensor, spacings: Sequence[tuple[float, float]]) -> dict[str, Tensor]:
        if not len(labels):
            raise DataError("ShapeCodes: a batch without a label map; leave such frames out")
        maps = one_hot(labels, len(STRUCTURES) + 1)
        mean, log_variance = self.encoder(maps)
        codes = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        logits = self.decoder(codes)
        self._keep_bounds(mean.detach())
        there = torch.ones(len(maps), len(STRUCTURES), dtype=torch.bool, device=maps.device)
        dice = soft_dice_loss(logits.softmax(1)[:, 1:], maps[:, 1:], there, (-2, -1), 1e-5)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        ce, overlap, normal, tied = self.weights
        return {
            "loss_ce": ce * F.cross_entropy(logits, labels.long()),
            "loss_dice": overlap * dice,
            "loss_divergence": normal * divergence,
            "loss_attributes": tied * self._attribute_loss(codes, labels, spacings),
        }

    def _attribute_loss(
        self, codes: Tensor, labels: Tensor, spacings: Sequence[tuple[float, float]]
    ) -> Tensor:
        """How far the order of codes is from that of attributes, over all pairs of the batch."""
        found = [
            [frame_attributes(one, STRUCTURES, spacing)[key] for key in ATTRIBUTES]
            for one, spacing in zip(labels.cpu().numpy(), spacings, strict=True)
        ]
        values = torch.from_numpy(np.array(found, np.float32)).to(codes.device)  # (N, A)
        order = (values[:, None] - values).sign()  # (N, N, A), NaN where one failed
        tied = codes[:, : len(ATTRIBUTES)]
        distance = (torch.tanh(_SHARP * (tied[:, None] - tied)) - order.nan_to_num()).abs()
        known = torch.isfinite(order)
        return (torch.where(known, distance, 0).sum((0, 1)) / known.sum((0, 1)).clamp(min=1)).sum()

    def _keep_bounds(self, mean: Tensor) -> None:
        epoch = MessageHub.get_current_instance().get_info("epoch", 0)
        if epoch != self._epoch:
            self._epoch = epoch
            self.bounds[0], self.bounds[1] = torch.inf, -torch.inf
        self.bounds[0] = torch.minimum(self.bounds[0], mean.amin(0))
        self.bounds[1] = torch.maximum(self.bounds[1], mean.amax(0))
