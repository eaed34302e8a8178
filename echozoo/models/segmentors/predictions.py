"""From logits on a network's grid to masks on the grid of the image file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.postprocessing import Postprocessing
from echozoo.structures import EchoDataSample

OFF = Postprocessing(())


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
    _attach(sample, scores > 0, scores, postprocessing)


def attach_label_map(
    sample: EchoDataSample, logits: Tensor, postprocessing: Postprocessing = OFF
) -> None:
    """Store predictions of a network that gives each pixel one of K + 1 classes.

    Args:
        sample: Receives ``pred_masks`` and ``pred_labels``.
        logits: (T, K + 1, h, w), background first.
        postprocessing: Steps of the config.
    """
    scores = to_native(_smooth(logits, sample, postprocessing), sample)  # (T, K + 1, H0, W0)
    structures = torch.arange(1, scores.shape[1], device=scores.device)
    masks = scores.argmax(dim=1)[:, None] == structures.view(1, -1, 1, 1)  # (T, K, H0, W0)
    _attach(sample, masks, scores[:, 1:], postprocessing)


def _smooth(logits: Tensor, sample: EchoDataSample, postprocessing: Postprocessing) -> Tensor:
    if not postprocessing.logit_steps:
        return logits
    # Before the resizing, on fewer pixels: averages over time and over space change places.
    smooth = postprocessing.smooth(logits.float().cpu().numpy(), sample.frames)
    return torch.from_numpy(smooth).to(logits.device)


def _attach(
    sample: EchoDataSample, masks: Tensor, scores: Tensor, postprocessing: Postprocessing
) -> None:
    """Store masks (T, K, H0, W0); a pixel of several is labelled with the highest score's."""
    labels = _label_map(masks, scores)
    if postprocessing.mask_steps:
        # Of the label map: pieces and holes of it are those that a user sees.
        structures = torch.arange(1, masks.shape[1] + 1, device=masks.device)
        masks = labels[:, None] == structures.view(1, -1, 1, 1)
        clean = postprocessing.clean(masks.cpu().numpy(), sample.structures, sample.spacing)
        masks = torch.from_numpy(clean).to(masks.device)
        labels = _label_map(masks, scores)
    sample.pred_masks, sample.pred_labels = masks, labels


def _label_map(masks: Tensor, scores: Tensor) -> Tensor:
    structure = scores.masked_fill(~masks, -torch.inf).argmax(dim=1)  # (T, H0, W0)
    return torch.where(masks.any(dim=1), structure + 1, 0).to(torch.uint8)


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
