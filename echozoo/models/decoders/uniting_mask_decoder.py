"""SAM's mask decoder for structures with several prompts each, whose masks are united."""

from __future__ import annotations

from torch import Tensor

from echozoo.models.contracts import KeyMap
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompts import Features
from echozoo.registry import MODELS

_NOTHING = -10.0  # logit of an empty mask


@MODELS.register_module()
class UnitingMaskDecoder(SAMMaskDecoder):
    """A pixel belongs to a structure where one of the masks of its prompts has it.

    Which of the S prompts of each of K structures are there, the features say in ``extra``, under
    ``there`` (N, K, S); then sparse and dense prompts are those of K * S, a structure's together.
    Without that it is SAM's decoder. A structure without prompts has an empty mask.
    """

    published = (KeyMap({r"(backbone\.)?mask_decoder\.": ""}),)  # of SAM's files, and UV-SAM's

    def forward(
        self,
        features: Features,
        dense_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask_output: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode as `SAMMaskDecoder` does, and unite.

        Returns:
            Logits (N, K, M, 4h, 4w), the largest of each pixel; and the largest quality (N, K, M).
        """
        masks, quality = super().forward(features, dense_pe, sparse, dense, multimask_output)
        there = features.extra.get("there")
        if there is None:
            return masks, quality
        structures = there.shape[1:]  # K, S
        absent = ~there[..., None]  # N, K, S, 1
        masks = masks.unflatten(1, structures).masked_fill(absent[..., None, None], _NOTHING)
        quality = quality.unflatten(1, structures).masked_fill(absent, 0)
        return masks.amax(2), quality.amax(2)
