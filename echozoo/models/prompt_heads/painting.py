"""Clicks drawn into a mask: what a person surely means by them, before a network looks at it."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST, _LARGEST = 3.0, 24.0  # radius of a disc, px of the masks


def paint_clicks(masks: Tensor, points: Tensor, labels: Tensor, certain: float) -> Tensor:
    """Draw each click as a disc that ends where the mask is as the click wants it.

    A person clicks into the middle of what is wrong, so a disc around the click up to the nearest
    pixel that is right already is wrong too. Later clicks see the discs of earlier ones.

    Args:
        masks: Log odds (M, h, w).
        points: (M, P, 2), (x, y) in pixels of the masks.
        labels: (M, P): 1 the structure is here, 0 it is not, -1 padding, which draws nothing.
        certain: Log odds in a disc; below zero where the structure is not.

    Returns:
        (M, h, w). A disc has a radius of 3 to 24 px, and the largest where no pixel is right.
    """
    rows = torch.arange(masks.shape[1], device=masks.device)[:, None]
    columns = torch.arange(masks.shape[2], device=masks.device)
    for point, label in zip(points.unbind(1), labels.unbind(1), strict=True):
        x, y = point[:, 0, None, None], point[:, 1, None, None]  # (M, 1, 1)
        distance = ((columns - x).square() + (rows - y).square()).sqrt()  # (M, h, w)
        is_here = label[:, None, None] == 1
        right = (masks > 0) == is_here
        radius = distance.where(right, torch.inf).amin((1, 2), keepdim=True)
        inside = distance < radius.clamp(_SMALLEST, _LARGEST)
        drawn = torch.where(is_here, certain, -certain).to(masks.dtype)
        masks = torch.where(inside & (label >= 0)[:, None, None], drawn, masks)
    return masks
