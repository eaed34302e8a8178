"""Prompts that a person, or the mask itself, gives: points, boxes and coarse masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS

KINDS = ("points", "boxes", "masks")


@PROMPT_HEADS.register_module()
class ManualPromptHead(SAMPromptHead):
    """SAM's prompt encoder on the prompts that samples carry.

    A click beside the wall may mean the cavity or the wall. Where one model serves several
    structures, ``num_structures`` adds a learnt token to each prompt that says which one is meant.
    SAM and SAMUS have none: they are trained for one structure, or guess.

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
        prompts: Which kinds it takes from the samples: "points", "boxes", "masks".
        num_structures: Structures that prompts name; 0 leaves them unnamed, as SAM does.
        mask_probabilities: Whether the encoder wants masks as probabilities (SAM-Med2D); prompts
            have logits all the same.

    Raises:
        ConfigError: No prompts, or unknown ones.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        img_size: int = 256,
        embedding_size: int = 32,
        prompts: Sequence[str] = ("points",),
        num_structures: int = 0,
        mask_probabilities: bool = False,
    ) -> None:
        super().__init__(embed_dims, img_size, embedding_size)
        if not prompts or not set(prompts) <= set(KINDS):
            raise ConfigError(
                f"ManualPromptHead: found prompts={tuple(prompts)}, wants some of {KINDS}"
            )
        self.kinds, self.mask_probabilities = tuple(prompts), mask_probabilities
        self.names = nn.Embedding(num_structures, embed_dims) if num_structures else None

    def embed(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed prompts as `SAMPromptHead` does."""
        if self.mask_probabilities and prompts.masks is not None:
            prompts = replace(prompts, masks=prompts.masks.sigmoid())
        return super().embed(features, prompts, output_tokens)

    def name(self, sparse: Tensor, structures: Sequence[int] | None = None) -> Tensor:
        """Add the tokens that say which structures are meant, where the head has them.

        Returns:
            (N, K, n + 1, C), or ``sparse`` as it is.
        """
        if self.names is None:
            return sparse
        names = self.names.weight if structures is None else self.names.weight[list(structures)]
        if len(names) != sparse.shape[1]:
            raise ConfigError(
                f"ManualPromptHead: found prompts for {sparse.shape[1]} structures, wants "
                f"{len(names)}; say which of them are meant (structures=...)"
            )
        tokens = names[None, :, None].expand(len(sparse), -1, -1, -1)  # N, K, 1, C
        return torch.cat([sparse, tokens], 2)
