"""SAM's mask decoder for structures that are parts of wholes: a part is inside its whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from echozoo.errors import ConfigError
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.layers.nesting import check_wholes, nested
from echozoo.models.prompts import Features
from echozoo.registry import MODELS


@MODELS.register_module()
class PartWholeMaskDecoder(SAMMaskDecoder):
    r"""A pixel is of a part as likely as of its whole, and there of this part (SP-SAM, 2312.14481).

    The wholes' masks are decoded beside the parts'; their prompts are in the features' ``extra``
    (see `PartPromptHead`). Of a whole with the logit e and parts with logits l, the probability of
    part k is :math:`\sigma(e)\, \mathrm{softmax}(l)_k`: those of all parts add up to the
    whole's, so that masks are nested and parts do not overlap. Without a whole's prompts, as for
    clicks, it is SAM's decoder.

    Args:
        embed_dims: Channels of the embeddings.
        wholes: The structures of each whole, from 0, as the prompt head has them. What is in none
            is by itself.
        **kwargs: See `SAMMaskDecoder`.
    """

    def __init__(
        self, embed_dims: int = 256, wholes: Sequence[Sequence[int]] = ((0, 1),), **kwargs
    ) -> None:
        super().__init__(embed_dims, **kwargs)
        self.wholes = check_wholes(wholes)

    def forward(
        self,
        features: Features,
        dense_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask_output: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode as `SAMMaskDecoder` does, the wholes too, and put parts inside them.

        Returns:
            Logits (N, K, M, 4h, 4w) and quality (N, K, M), of the structures.

        Raises:
            ConfigError: The prompt head has other wholes.
        """
        if "whole_sparse" not in features.extra:
            return super().forward(features, dense_pe, sparse, dense, multimask_output)
        count, found = sparse.shape[1], features.extra["whole_sparse"].shape[1]
        if found != len(check_wholes(self.wholes, count)):
            raise ConfigError(
                f"PartWholeMaskDecoder: found prompts of {found} wholes, wants {len(self.wholes)}; "
                "give prompt head, decoder and loss the same wholes"
            )
        sparse = torch.cat([sparse, features.extra["whole_sparse"]], 1)  # N, K + W, n, C
        dense = torch.cat([dense, features.extra["whole_dense"]], 1)
        masks, quality = super().forward(features, dense_pe, sparse, dense, multimask_output)
        parts, wholes = list(masks[:, :count].float().unbind(1)), masks[:, count:].float()
        for whole, members in zip(wholes.unbind(1), self.wholes, strict=True):
            inside = nested([parts[member] for member in members], whole)
            for member, logits in zip(members, inside, strict=True):
                parts[member] = logits
        return torch.stack(parts, 1), quality[:, :count]
