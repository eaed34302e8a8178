"""Clicks for a model that was trained with boxes alone: the best of many boxes around them.

LiteMedSAM has seen boxes only and answers a click with an empty mask. Its decoder, however, also
estimates how good a mask is, and that tells a box that fits a structure from one that does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from echozoo.models.segmentors.promptable import PromptableSegmentor

# Half the width of a box, as a part of the input's longer side: from a small atrium to a ventricle
# that fills the sector. And half the height, as a multiple of that.
_WIDTHS = (0.047, 0.066, 0.094, 0.133)
_SHAPES = (0.7, 1.0, 1.5, 2.1)
_NOTHING = -10.0  # logit of an empty mask


@torch.no_grad()
def decode_clicks(
    model: PromptableSegmentor,
    embedding: Tensor,
    points: Tensor,
    labels: Tensor,
    structures: Sequence[int] | None = None,
) -> Tensor:
    """Decode boxes of several sizes around each structure's clicks, and keep the best mask.

    The best is the one that the decoder expects most of, of those that agree with most clicks.
    One structure of one frame is decoded at a time, so that memory stays bounded.

    Args:
        model: Its prompt head takes boxes; its decoder estimates the quality of masks.
        embedding: Image embeddings (N, E, h, w).
        points: (N, K, P, 2) as (x, y) in pixels of the network's input.
        labels: (N, K, P), 1 foreground, 0 background, -1 padding.
        structures: Which structures the K are, from 0; None is all of them in their order.

    Returns:
        Low-resolution logits (N, K, 4h, 4w); without a foreground point, those of an empty mask.
    """
    structures = range(points.shape[1]) if structures is None else structures
    logits = [
        _best(model, embedding[n : n + 1], points[n, k], labels[n, k], structure)
        for n in range(points.shape[0])
        for k, structure in enumerate(structures)
    ]
    return torch.stack(logits).unflatten(0, points.shape[:2])  # N, K, 4h, 4w


def _best(
    model: PromptableSegmentor, embedding: Tensor, points: Tensor, labels: Tensor, structure: int
) -> Tensor:
    height, width = embedding.shape[-2:]
    inside = points[labels == 1].float()  # P', 2
    if not len(inside):
        return embedding.new_full((4 * height, 4 * width), _NOTHING)
    encoder = model.prompt_head.encoder
    scale = encoder.input_image_size[0] / encoder.image_embedding_size[0]
    size = points.new_tensor([width * scale, height * scale], dtype=torch.float32)
    boxes = _boxes(inside, size)
    sparse, dense, embedding = model.prompt_head.embed(
        embedding, boxes=boxes[None], structures=[structure] * len(boxes)
    )
    dense_pe = model.prompt_head.dense_pe((height, width))
    logits, quality = model.decoder(embedding, dense_pe, sparse, dense)
    logits = logits[0, :, 0]  # boxes, 4h, 4w
    pixels = ((points + 0.5) / size * size.new_tensor([4 * width, 4 * height])).long()
    x, y = pixels[:, 0].clamp(0, 4 * width - 1), pixels[:, 1].clamp(0, 4 * height - 1)
    covered = logits[:, y, x] > 0  # boxes, P
    wrong = ((covered != (labels == 1)) & (labels >= 0)).sum(1)
    return logits[(quality[0, :, 0].float() - wrong).argmax()]


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
