"""From logits on a network's grid to masks on the grid of the image file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.structures import EchoDataSample


def to_native(logits: Tensor, sample: EchoDataSample) -> Tensor:
    """Undo the resizing of the input, bilinearly, on logits.

    Args:
        logits: (T, K, h, w), of any resolution, covering the network's whole input.
        sample: Its ``input_size``, ``valid_size`` and ``native_size`` say how the image became
            the input.

    Returns:
        Logits (T, K, H0, W0) on the grid of the image file, float32.
    """
    logits = _resize(logits.float(), sample.input_size)
    height, width = sample.valid_size
    return _resize(logits[..., :height, :width], sample.native_size)


def attach_structure_masks(sample: EchoDataSample, logits: Tensor) -> None:
    """Store predictions of a network that gives each structure a mask of its own.

    Args:
        sample: Receives ``pred_masks`` and ``pred_labels``.
        logits: (T, K, h, w); a mask is where a structure's logit is above 0.
    """
    logits = to_native(logits, sample)  # (T, K, H0, W0)
    best, structure = logits.max(dim=1)  # (T, H0, W0)
    sample.pred_masks = logits > 0
    sample.pred_labels = torch.where(best > 0, structure + 1, 0).to(torch.uint8)


def attach_label_map(sample: EchoDataSample, logits: Tensor) -> None:
    """Store predictions of a network that gives each pixel one of K + 1 classes.

    Args:
        sample: Receives ``pred_masks`` and ``pred_labels``.
        logits: (T, K + 1, h, w), background first.
    """
    labels = to_native(logits, sample).argmax(dim=1)  # (T, H0, W0)
    structures = torch.arange(1, logits.shape[1], device=labels.device)
    sample.pred_masks = labels[:, None] == structures.view(1, -1, 1, 1)  # (T, K, H0, W0)
    sample.pred_labels = labels.to(torch.uint8)


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
