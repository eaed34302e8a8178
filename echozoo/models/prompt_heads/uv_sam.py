"""UV-SAM's prompts (arXiv 2401.08083): a coarse mask's boxes, the mask itself, and what it means.

::

    images -> SegFormer -> fused map, coarse logits of each structure
    contours of the coarse mask -> boxes -> corner tokens --+
    mean of SAM's embedding, mean of the fused map ---------+-> two layers -> sparse prompts
    coarse logits, thinned out ------------------------------------------> dense prompts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.prompt_heads.coarse import CoarsePromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS


@PROMPT_HEADS.register_module()
class UVSAMPromptHead(CoarsePromptHead):
    """A box for every contour of a coarse mask, holes too, that is large enough.

    Its masks are united by `UnitingMaskDecoder`. The published code means to ask whether the sides
    of a box exceed a limit and asks it of its right and lower edge; ``tests_corners`` has that.

    Args:
        fused_dims: Channels of the fused map.
        min_side: What the sides of a box, and the root of the contour's area, must exceed, as a
            part of the input's width; published are 100 of 1024 pixels.
        tests_corners: Whether the right and lower edge must exceed it in place of the sides.
        **coarse: See `CoarsePromptHead`; the coarse decode head has ``fuse``.
    """

    published = (
        KeyMap({r"(backbone\.)?prompt_encoder\.": "encoder."}, holds=r"encoder\..+"),
        KeyMap({r"project_head\.": "project_head."}, holds=r"project_head\..+"),
    )

    def __init__(
        self,
        fused_dims: int = 256,
        min_side: float = 100 / 1024,
        tests_corners: bool = False,
        **coarse,
    ) -> None:
        super().__init__(**coarse)
        embed_dims = self.embed_dims
        self.min_side, self.tests_corners = min_side, tests_corners
        self.project_head = nn.Sequential(
            nn.Linear(2 * embed_dims + fused_dims, 2 * embed_dims, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(2 * embed_dims, embed_dims, bias=False),
        )
        for layer in self.project_head[::2]:
            nn.init.xavier_normal_(layer.weight)

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed the boxes and masks of the coarse network.

        Returns:
            As of `embed_coarse`; the features have ``coarse`` (N, K, h', w') too.
        """
        head = self.coarse["decode_head"]
        fused = head.fuse(self.coarse_maps(features))  # N, fused_dims, h', w'
        logits = head.cls_seg(fused)  # N, classes, h', w'
        size = features.images.shape[-2:]
        large = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        if self.has_background:
            numbers = torch.arange(1, large.shape[1], device=large.device)
            masks = large.argmax(1, keepdim=True) == numbers.view(-1, 1, 1)
            large, logits = large[:, 1:], logits[:, 1:]
        else:
            masks = large > 0
        sparse, dense, features = self.embed_coarse(features, large, masks, fused)
        return sparse, dense, replace(features, extra={**features.extra, "coarse": logits})

    def embed_coarse(
        self, features: Features, logits: Tensor, masks: Tensor, fused: Tensor
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed what a coarse network has found.

        Args:
            features: Of N images, (N, C, h, w).
            logits: Of each structure (N, K, H, W), on the pixels of the input.
            masks: Where each structure is (N, K, H, W) bool.
            fused: The fused map (N, fused_dims, h', w').

        Returns:
            sparse (N, K * S, 2, C) and dense (N, K * S, C, h, w) of S boxes a structure, as many
            as the one with most has, at least one; and the features with ``there`` (N, K, S) bool:
            which boxes are there.
        """
        boxes, there = self.boxes(masks)  # (N, K, S, 4), (N, K, S)
        number = boxes.shape[2]
        height, width = features.size
        thin = F.adaptive_avg_pool2d(logits.float(), (4 * height, 4 * width))  # N, K, 4h, 4w
        tokens, dense, features = self.embed(
            features,
            Prompts(boxes=boxes.flatten(1, 2), masks=thin.repeat_interleave(number, 1)),
        )
        meaning = self.meaning(features, fused)[:, None, None].expand(*tokens.shape[:3], -1)
        sparse = self.project_head(torch.cat([F.normalize(tokens, dim=-1), meaning], -1))
        return sparse, dense, replace(features, extra={**features.extra, "there": there})

    def meaning(self, features: Features, fused: Tensor) -> Tensor:
        """What the whole image is like: (N, C + fused_dims), each half of length 1."""
        means = (features.embedding.mean((-2, -1)), fused.mean((-2, -1)))
        return torch.cat([F.normalize(mean, dim=-1) for mean in means], -1)

    def boxes(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes of the contours of masks (N, K, H, W) that are large enough.

        Returns:
            (N, K, S, 4) as (x, y, x + width, y + height), and which of them are there (N, K, S).
        """
        found = [
            [self._kept(mask) for mask in image] for image in masks.cpu().numpy().astype(np.uint8)
        ]
        number = max(1, *(len(boxes) for image in found for boxes in image))
        boxes = np.zeros((*masks.shape[:2], number, 4), np.float32)
        there = np.zeros(boxes.shape[:3], bool)
        for index in np.ndindex(*masks.shape[:2]):
            mine = found[index[0]][index[1]]
            boxes[index][: len(mine)], there[index][: len(mine)] = mine, True
        return tuple(torch.from_numpy(each).to(masks.device) for each in (boxes, there))

    def _kept(self, mask: np.ndarray) -> np.ndarray:
        limit = self.min_side * mask.shape[1]
        boxes, areas = contour_boxes(mask)
        sides = boxes[:, 2:] if self.tests_corners else boxes[:, 2:] - boxes[:, :2]
        return boxes[(areas > limit**2) & (sides > limit).all(1)]


def contour_boxes(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) around all contours of a mask (H, W) uint8, holes' too, and their areas (n,)."""
    contours: Sequence[np.ndarray] = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)[0]
    sides = np.array([cv2.boundingRect(one) for one in contours]).reshape(-1, 4)
    areas = np.array([cv2.contourArea(one) for one in contours])
    return np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], 1), areas
