"""Boxes that a detector found, several of a structure or none: Polyp-SAM++'s prompts of SAM."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS


@PROMPT_HEADS.register_module()
class DetectedBoxPromptHead(SAMPromptHead):
    """SAM's prompt encoder on boxes of `BoxPrompter`, whose masks `UnitingMaskDecoder` unites."""

    kinds = ("detected_boxes",)

    def embed(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed detected boxes, or prompts of SAM's kinds, as SAM does.

        Args:
            features: Of N images, (N, C, h, w).
            prompts: ``detected_boxes`` (N, K, S, 4), NaN where there is none.
            output_tokens: The decoder's; not used.

        Returns:
            sparse (N, K * S, 2, C) and dense (N, K * S, C, h, w), a structure's boxes together; and
            the features with ``there`` (N, K, S) bool: which of them are there.
        """
        boxes = prompts.extra.get("detected_boxes")
        if boxes is None:
            return super().embed(features, prompts)
        there = boxes.isfinite().all(-1)  # N, K, S
        boxes = boxes.nan_to_num(0).flatten(1, 2)  # N, K * S, 4
        sparse, dense, features = super().embed(features, Prompts(boxes=boxes))
        return sparse, dense, replace(features, extra={**features.extra, "there": there})
