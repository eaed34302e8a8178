"""From logits on a network's grid to masks on the grid of the image file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.postprocessing import Postprocessing
from echozoo.structures import EchoDataSample

OFF = Postprocessing(())
_LEAST = 1e-6  # probability, below which a logarithm would be of rounding alone


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


def attach_structure_masks(
    sample: EchoDataSample, logits: Tensor, postprocessing: Postprocessing = OFF
) -> None:
    """Store predictions of a network that gives each structure a mask of its own.

    Args:
        sample: Receives ``pred_masks`` and ``pred_labels``.
        logits: (T, K, h, w); a mask is where a structure's logit is above 0.
        postprocessing: Steps of the config.
    """
    scores = to_native(_smooth(logits, sample, postprocessing), sample)  # (T, K, H0, W0)
    masks = scores > 0
    _attach(sample, masks, _label_map(masks, scores), scores, postprocessing)


def attach_label_map(
    sample: EchoDataSample, logits: Tensor, postprocessing: Postprocessing = OFF
) -> None:
    """Store predictions of a network that gives each pixel one of K + 1 classes.

    Args:
        sample: Receives ``pred_masks`` and ``pred_labels``.
        logits: (T, K + 1, h, w), background first.
        postprocessing: Steps of the config.
    """
    scores = to_native(_smooth(logits, sample, postprocessing), sample)
    _attach_classes(sample, scores, postprocessing)


def _attach_classes(sample: EchoDataSample, scores: Tensor, postprocessing: Postprocessing) -> None:
    """Store what scores (T, K + 1, H0, W0) of the classes come to."""
    background, scores = scores[:, :1], scores[:, 1:]
    labels = _label_map(scores > background, scores)
    _attach(sample, _masks_of(labels, scores.shape[1]), labels, scores, postprocessing)


def chances_of(logits: Tensor, sample: EchoDataSample) -> Tensor:
    """How likely each pixel is background and each structure.

    Args:
        logits: (T, K, h, w), a mask each, or (T, K + 1, h, w), a class each, background first.
        sample: Its ``structures`` are the K.

    Returns:
        (T, K + 1, H0, W0) on the grid of the image file, background first, sums of 1.
    """
    logits = to_native(logits, sample)
    if logits.shape[1] == len(sample.structures):  # a mask each: background is a logit of 0
        logits = torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)
    return logits.softmax(1)


def attach_chances(
    sample: EchoDataSample, chances: Tensor, postprocessing: Postprocessing = OFF
) -> None:
    """Store predictions that several networks have come to, each on a grid of its own.

    Args:
        sample: Receives ``pred_masks`` and ``pred_labels``.
        chances: (T, K + 1, H0, W0), a mean of `chances_of`.
        postprocessing: Steps of the config.
    """
    logits = _smooth(chances.clamp(min=_LEAST).log(), sample, postprocessing)
    _attach_classes(sample, logits, postprocessing)


def _smooth(logits: Tensor, sample: EchoDataSample, postprocessing: Postprocessing) -> Tensor:
    if not postprocessing.logit_steps:
        return logits
    # Before the resizing, on fewer pixels: averages over time and over space change places.
    smooth = postprocessing.smooth(logits.float().cpu().numpy(), sample.frames)
    return torch.from_numpy(smooth).to(logits.device)


def _attach(
    sample: EchoDataSample,
    masks: Tensor,
    labels: Tensor,
    scores: Tensor,
    postprocessing: Postprocessing,
) -> None:
    """Store masks (T, K, H0, W0) and the label maps (T, H0, W0) that they make."""
    if postprocessing.mask_steps:
        # Of the label map: pieces and holes of it are those that a user sees.
        masks = _masks_of(labels, masks.shape[1]).cpu().numpy()
        clean = postprocessing.clean(masks, sample.structures, sample.spacing)
        masks = torch.from_numpy(clean).to(scores.device)
        labels = _label_map(masks, scores)
    sample.pred_masks, sample.pred_labels = masks, labels


def _label_map(masks: Tensor, scores: Tensor) -> Tensor:
    """Label maps (T, H0, W0) of masks (T, K, H0, W0): of several, that of the highest score."""
    # Plane by plane: torch's argmax over a dimension with a stride is ten times as slow on a CPU.
    best = torch.full_like(scores[:, 0], -torch.inf)  # (T, H0, W0)
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for k in range(masks.shape[1]):
        better = masks[:, k] & (scores[:, k] > best)
        labels.masked_fill_(better, k + 1)
        best = torch.where(better, scores[:, k], best)
    return labels


def _masks_of(labels: Tensor, num_structures: int) -> Tensor:
    """Masks (T, K, H0, W0) of label maps (T, H0, W0)."""
    structures = torch.arange(1, num_structures + 1, device=labels.device)
    return labels[:, None] == structures.view(1, -1, 1, 1)


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
