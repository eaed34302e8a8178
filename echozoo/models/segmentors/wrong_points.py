"""Where masks are wrong: points as a person would click them to correct a mask."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def next_click(mask: np.ndarray, reference: np.ndarray) -> tuple[tuple[int, int], int]:
    """Say where a person would click next.

    Args:
        mask: (H, W) bool, not equal to the reference.
        reference: (H, W) bool.

    Returns:
        (x, y), and 1 where something is missing or 0 where something is too much.
    """
    found = []
    for wrong, label in ((reference & ~mask, 1), (mask & ~reference, 0)):
        # The border of the image is one of the region too.
        padded = np.pad(wrong.astype(np.uint8), 1)
        inside = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        y, x = np.unravel_index(inside.argmax(), inside.shape)
        found.append((inside[y, x], (int(x), int(y)), label))
    return max(found)[1:]


def worst_points(logits: Tensor, masks: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """The next click of each mask, see `next_click`.

    Args:
        logits: Of the masks (N, K, h, w).
        masks: References (N, K, H, W).
        labelled: Which of them are there (N, K) bool.

    Returns:
        Points (N, K, 1, 2) as (x, y), and their labels (N, K, 1): 1 where something is missing, 0
        where something is too much, -1 (padding) where nothing is wrong or known.
    """
    found = (enlarged(logits, masks.shape[-2:]) > 0).flatten(0, 1).cpu().numpy()
    wanted = (masks > 0.5).flatten(0, 1).cpu().numpy()
    points = np.zeros((len(found), 2), np.float32)
    labels = np.full(len(found), -1)
    for number, known in enumerate(labelled.flatten().tolist()):
        if known and (found[number] != wanted[number]).any():
            points[number], labels[number] = next_click(found[number], wanted[number])
    shape = masks.shape[:2]
    return (
        torch.from_numpy(points).view(*shape, 1, 2).to(logits.device),
        torch.from_numpy(labels).view(*shape, 1).to(logits.device),
    )


def wrong_points(
    logits: Tensor, masks: Tensor, labelled: Tensor, number: int
) -> tuple[Tensor, Tensor]:
    """Points where masks are wrong, as a person would click them.

    Args:
        logits: Of the masks (N, K, h, w).
        masks: References (N, K, H, W).
        labelled: Which of them are there (N, K) bool.
        number: P, of points a mask.

    Returns:
        Points (N, K, P, 2) as (x, y), drawn from the wrong pixels, and their labels (N, K, P): 1
        where something is missing, 0 where something is too much, -1 (padding) where nothing is
        wrong or known.
    """
    wrong = (enlarged(logits, masks.shape[-2:]) > 0) != (masks > 0.5)
    wrong = (wrong & labelled[..., None, None]).flatten(2)  # N, K, H * W
    some = wrong.any(2, keepdim=True)  # N, K, 1
    chances = torch.where(some, wrong, True).float().flatten(0, 1)
    drawn = torch.multinomial(chances, number, replacement=True).unflatten(0, masks.shape[:2])
    rows = drawn.div(masks.shape[-1], rounding_mode="floor")
    points = torch.stack([drawn % masks.shape[-1], rows], -1).float()  # (x, y)
    return points, torch.where(some, masks.flatten(2).gather(2, drawn), -1).long()


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (N, K, h, w) at a size (H, W)."""
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
