"""Points from coarse masks: AdapterShadow (arXiv 2311.08891) and Segment Any Cell (2401.13220)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.coarse import CoarsePromptHead, enlarged
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS

SAMPLERS = ("topk", "grid")


@PROMPT_HEADS.register_module()
class CoarsePointPromptHead(CoarsePromptHead):
    """Points where a coarse network is surest of a structure, and where of its absence.

    AdapterShadow's published code hands its points to SAM as (row, column), where SAM wants
    (x, y): they are mirrored at the diagonal of the image. ``transposed`` has that.

    Args:
        sampler: ``"topk"`` takes the pixels of the largest logits; ``"grid"`` cuts the image into
            cells and takes the largest of each, foreground where it exceeds the threshold.
        num_points: Pixels of ``"topk"``; cells along each side of ``"grid"``.
        negatives: Whether ``"topk"`` adds as many pixels of the least logits, as background.
        threshold: Of ``"grid"``, on logits.
        transposed: Whether x and y change places, as in the published code.
        **coarse: See `CoarsePromptHead`.

    Raises:
        ConfigError: An unknown sampler, no points, or a coarse network with a background.
    """

    def __init__(
        self,
        sampler: str = "topk",
        num_points: int = 5,
        negatives: bool = True,
        threshold: float = 0.9,
        transposed: bool = False,
        **coarse,
    ) -> None:
        super().__init__(**coarse)
        if sampler not in SAMPLERS or num_points < 1:
            raise ConfigError(
                f"CoarsePointPromptHead: found sampler={sampler!r}, num_points={num_points}, wants "
                f"one of {SAMPLERS} and at least one point"
            )
        if self.has_background:
            raise ConfigError(
                "CoarsePointPromptHead: found a coarse network with a background, wants a logit "
                f"for each structure by itself; set its num_classes to {self.num_structures}"
            )
        self.sampler, self.num_points = sampler, num_points
        self.negatives, self.threshold, self.transposed = negatives, threshold, transposed

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed points that the coarse network finds.

        Returns:
            sparse (N, K, P + 1, C), dense (N, K, C, h, w), and the features with ``coarse``
            (N, K, h', w').
        """
        logits = self.coarse["decode_head"](self.coarse_maps(features))
        points, labels = self.sample(enlarged(logits.detach(), features.images.shape[-2:]))
        sparse, dense, features = self.embed(features, Prompts(points=points, labels=labels))
        return sparse, dense, replace(features, extra={**features.extra, "coarse": logits})

    def sample(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Choose points on coarse logits (N, K, H, W) of the input's size.

        Returns:
            Points (N, K, P, 2) as SAM wants them, (x, y), unless ``transposed``; and their labels
            (N, K, P), 1 or 0.
        """
        if self.sampler == "topk":
            rows_columns, labels = top_points(logits, self.num_points, self.negatives)
        else:
            rows_columns, labels = grid_points(logits, self.num_points, self.threshold)
        points = rows_columns if self.transposed else rows_columns.flip(-1)
        return points.to(logits.dtype), labels


def top_points(logits: Tensor, count: int, negatives: bool) -> tuple[Tensor, Tensor]:
    """The pixels of the largest logits (N, K, H, W), largest first, and of the least, least first.

    Returns:
        (row, column) (N, K, P, 2), P = ``count`` or twice that, and labels (N, K, P).
    """
    pixels = logits.flatten(2)  # N, K, H * W
    places = [pixels.topk(count).indices]
    if negatives:
        places.append(pixels.topk(count, largest=False).indices)
    labels = torch.cat([torch.full_like(p, 1 - n) for n, p in enumerate(places)], -1)
    return _rows_columns(torch.cat(places, -1), logits.shape[-1]), labels


def grid_points(logits: Tensor, cells: int, threshold: float) -> tuple[Tensor, Tensor]:
    """The pixel of the largest logit in each of cells x cells parts of an image (N, K, H, W).

    Returns:
        (row, column) (N, K, cells * cells, 2), and labels of the same number: 1 where the logit
        exceeds the threshold, else 0. So a background point lies where its cell is least so.
    """
    largest, places = F.adaptive_max_pool2d(logits, cells, return_indices=True)
    return _rows_columns(places.flatten(2), logits.shape[-1]), (largest > threshold).flatten(
        2
    ).long()


def _rows_columns(places: Tensor, width: int) -> Tensor:
    return torch.stack([places.div(width, rounding_mode="floor"), places % width], -1)
