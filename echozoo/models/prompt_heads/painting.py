"""Clicks drawn into a mask: what a person surely means by them, before a network looks at it."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST, _LARGEST = 3.0, 24.0  # radius of a disc, px of the masks
_SPREAD, _MARGIN = 10.0, 2.0  # of what is lifted around a click: px, and log odds at the click


def paint_clicks(masks: Tensor, points: Tensor, labels: Tensor, certain: float) -> Tensor:
    """Draw each click as a disc that ends where the mask is as the click wants it, on a hill.

    A person clicks into the middle of what is wrong, so a disc around the click up to the nearest
    pixel that is right already is wrong too. Beyond the disc the log odds are lifted by what the
    click's own pixel lacks, less and less with the distance (a Gaussian): where the mask was
    unsure, as along a thin wall, its outline follows; where it was sure, it stays. Later clicks see
    what earlier ones have drawn.

    Args:
        masks: Log odds (M, h, w).
        points: (M, P, 2), (x, y) in pixels of the masks.
        labels: (M, P): 1 the structure is here, 0 it is not, -1 padding, which draws nothing.
        certain: Log odds in a disc; below zero where the structure is not.

    Returns:
        (M, h, w). A disc has a radius of 3 to 24 px, and the largest where no pixel is right.
    """
    height, width = masks.shape[1:]
    rows = torch.arange(height, device=masks.device)[:, None]
    columns = torch.arange(width, device=masks.device)
    for point, label in zip(points.unbind(1), labels.unbind(1), strict=True):
        x, y = point[:, 0, None, None], point[:, 1, None, None]  # (M, 1, 1)
        distance = ((columns - x).square() + (rows - y).square()).sqrt()  # (M, h, w)
        is_here = label[:, None, None] == 1
        right = (masks > 0) == is_here
        radius = distance.where(right, torch.inf).amin((1, 2), keepdim=True)
        inside = distance < radius.clamp(_SMALLEST, _LARGEST)
        sign = torch.where(is_here, 1.0, -1.0).to(masks.dtype)
        row, column = y.round().clamp(0, height - 1), x.round().clamp(0, width - 1)
        clicked = (row * width + column).long().flatten(1)  # (M, 1)
        lacking = (_MARGIN - sign * masks.flatten(1).gather(1, clicked)[..., None]).clamp(min=0)
        hill = lacking * torch.exp(-0.5 * (distance / _SPREAD).square())
        drawn = sign * torch.where(inside, certain, sign * masks + hill).to(masks.dtype)
        masks = torch.where((label >= 0)[:, None, None], drawn, masks)
    return masks
