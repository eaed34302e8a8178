"""SP-SAM's prompts (arXiv 2312.14481): texts of parts meet the image and make up a whole.

::

    texts -> tokens of parts and wholes; embedding F
    part k:  F + F (F . token) -> dense prompt;  token, mean of F where it is like it -> sparse
    whole:   its parts' prompts, weighted by what they are to its token
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from echozoo.models.layers.nesting import check_wholes
from echozoo.models.prompt_heads.prototypes import looked_for
from echozoo.models.prompt_heads.text import TextPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS


@PROMPT_HEADS.register_module()
class PartPromptHead(TextPromptHead):
    """Prompts of parts by their texts, and of the wholes that they make up; it prompts itself.

    As described, since the paper came without code: a text for each part and for each whole, an
    encoder in which texts and image meet, and a fusion of parts whose weights depend on the image.
    Of instruments made of shafts and jaws the heart has walls around cavities: cavity and
    myocardium of the left ventricle are the parts of what the epicardium encloses.

    The decoder gets the prompts of the K structures, and finds those of the W wholes in the
    features' ``extra``, under ``whole_sparse`` (N, W, 2, C) and ``whole_dense`` (N, W, C, h, w).
    Clicks, boxes and masks are taken too, as SAM does, and have no wholes.

    Args:
        num_structures: K.
        wholes: The structures of each whole, from 0.
        hidden_dims: Hidden width of what makes dense prompts.
        **text: See `TextPromptHead`; features and names of the K structures, then of the wholes.

    Raises:
        ConfigError: A whole of less than two structures, or of some that are not there or of
            another.
    """

    def __init__(
        self,
        num_structures: int = 3,
        wholes: Sequence[Sequence[int]] = ((0, 1),),
        hidden_dims: int = 128,
        **text,
    ) -> None:
        wholes = check_wholes(wholes, num_structures)
        texts = num_structures + len(wholes)
        super().__init__(texts, **text)
        self.num_structures = num_structures
        members = torch.zeros(len(wholes), num_structures, dtype=torch.bool)
        for whole, parts in enumerate(wholes):
            members[whole, list(parts)] = True
        self.register_buffer("members", members, persistent=False)
        self.dense_prompt = nn.Sequential(
            nn.Conv2d(self.embed_dims, hidden_dims, 1),
            nn.ReLU(),
            nn.Conv2d(hidden_dims, self.embed_dims, 1),
        )

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Prompt for all K structures and the wholes.

        Returns:
            sparse (N, K, 2, C), dense (N, K, C, h, w), and the features with the wholes' prompts.
        """
        embedding = features.embedding
        parts, wholes = self.tokens(self.text).split([self.num_structures, len(self.members)])
        means = self._means(embedding, parts)  # N, K, C
        found = looked_for(embedding, parts)  # N, K, C, h, w
        dense = self.dense_prompt(found.flatten(0, 1)).unflatten(0, found.shape[:2])
        weights = self._weights(means, wholes)  # N, W, K
        whole_means = weights @ means  # N, W, C
        whole = {
            "whole_sparse": torch.stack([wholes.expand_as(whole_means), whole_means], 2),
            "whole_dense": torch.einsum("nuk,nkchw->nuchw", weights, dense),
        }
        sparse = torch.stack([parts.expand_as(means), means], 2)
        return sparse, dense, replace(features, extra={**features.extra, **whole})

    def _means(self, embedding: Tensor, tokens: Tensor) -> Tensor:
        """Means (N, K, C) of an embedding (N, C, h, w), of what is most like the tokens (K, C)."""
        places = embedding.flatten(2)  # N, C, h * w
        alike = (tokens @ places / len(places[0]) ** 0.5).softmax(-1)  # N, K, h * w
        return alike @ places.transpose(1, 2)

    def _weights(self, means: Tensor, wholes: Tensor) -> Tensor:
        """What each part (N, K, C) is to each whole (W, C): (N, W, K), of a whole 1 together."""
        alike = wholes @ means.transpose(1, 2) / means.shape[-1] ** 0.5  # N, W, K
        return alike.masked_fill(~self.members, -torch.inf).softmax(-1)
