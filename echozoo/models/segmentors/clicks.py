"""Clicks for a model that was trained with boxes alone: the best of many boxes around them.

LiteMedSAM has seen boxes only and answers a click with an empty mask. Its decoder, however, also
estimates how good a mask is, and that tells a box that fits a structure from one that does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from echozoo.models.prompts import Features, Prompts

Decode = Callable[[Features, Prompts], tuple[Tensor, Tensor]]

# Half the width of a box, as a part of the input's longer side: from a small atrium to a ventricle
# that fills the sector. And half the height, as a multiple of that.
_WIDTHS = (0.047, 0.066, 0.094, 0.133)
_SHAPES = (0.7, 1.0, 1.5, 2.1)
_NOTHING = -10.0  # logit of an empty mask


@torch.no_grad()
def decode_clicks(
    decode: Decode, features: Features, prompts: Prompts, stride: int
) -> tuple[Tensor, Tensor]:
    """Decode boxes of several sizes around each structure's clicks, and keep the best mask.

    The best is the one that the decoder expects most of, of those that agree with most clicks.
    One structure of one frame is decoded at a time, so that memory stays bounded.

    Args:
        decode: Decodes boxes: features and prompts to logits and their expected quality.
        features: Of N images, (N, E, h, w).
        prompts: Points (N, K, P, 2) with their labels.
        stride: Pixels of the network's input for one place of the embedding.

    Returns:
        Low-resolution logits (N, K, 4h, 4w), those of an empty mask without a foreground point;
        and the quality that the decoder expects, (N, K).
    """
    number, structures = prompts.batch
    names = prompts.structures or range(structures)
    found = [
        _best(decode, features[n : n + 1], prompts.points[n, k], prompts.labels[n, k], name, stride)
        for n in range(number)
        for k, name in enumerate(names)
    ]
    logits, quality = (torch.stack(each) for each in zip(*found, strict=True))
    return logits.unflatten(0, prompts.batch), quality.unflatten(0, prompts.batch)


def _best(
    decode: Decode, features: Features, points: Tensor, labels: Tensor, name: int, stride: int
) -> tuple[Tensor, Tensor]:
    """Logits (4h, 4w) and quality () of the best box for one structure's points (P, 2)."""
    height, width = features.size
    inside = points[labels == 1].float()  # P', 2
    if not len(inside):
        empty = features.embedding.new_full((4 * height, 4 * width), _NOTHING)
        return empty, empty.new_zeros(())
    size = points.new_tensor([width * stride, height * stride], dtype=torch.float32)
    boxes = _boxes(inside, size)
    logits, quality = decode(
        features, Prompts(boxes=boxes[None], structures=(name,) * len(boxes))
    )  # (1, boxes, 4h, 4w), (1, boxes)
    pixels = ((points + 0.5) / size * size.new_tensor([4 * width, 4 * height])).long()
    x, y = pixels[:, 0].clamp(0, 4 * width - 1), pixels[:, 1].clamp(0, 4 * height - 1)
    covered = logits[0][:, y, x] > 0  # boxes, P
    wrong = ((covered != (labels == 1)) & (labels >= 0)).sum(1)
    best = (quality[0].float() - wrong).argmax()
    return logits[0, best], quality[0, best]


def _boxes(inside: Tensor, size: Tensor) -> Tensor:
    """Boxes (number, 4) that hold all points inside (P', 2) of an input of a size (W, H)."""
    widths, shapes = inside.new_tensor(_WIDTHS), inside.new_tensor(_SHAPES)
    halves = torch.cartesian_prod(widths * size.max(), shapes)
    halves = torch.stack([halves[:, 0], halves.prod(1)], 1)  # number, 2
    low, high = inside.amin(0), inside.amax(0)
    centre, reach = (low + high) / 2, (high - low) / 2
    halves = torch.maximum(halves, 1.2 * reach)
    corners = torch.stack([centre - halves, centre + halves], 1)  # number, 2, 2
    return torch.minimum(corners.clamp(min=0), size - 1).flatten(1)
