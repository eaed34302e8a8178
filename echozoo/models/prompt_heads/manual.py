"""Prompts that a person, or the mask itself, gives: points, boxes and coarse masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.registry import PROMPT_HEADS
from echozoo.structures import EchoDataSample

# The fields of a sample that each kind of prompt needs.
FIELDS = {"points": ("points", "point_labels"), "boxes": ("boxes",), "masks": ("mask_prompts",)}


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
        prompts: Which prompts `forward` takes from the samples: "points", "boxes", "masks".
        num_structures: Structures that prompts name; 0 leaves them unnamed, as SAM does.

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
    ) -> None:
        super().__init__(embed_dims, img_size, embedding_size)
        if not prompts or not set(prompts) <= set(FIELDS):
            raise ConfigError(
                f"ManualPromptHead: found prompts={tuple(prompts)}, wants some of {tuple(FIELDS)}"
            )
        self.prompts = tuple(prompts)
        self.names = nn.Embedding(num_structures, embed_dims) if num_structures else None

    def forward(
        self,
        embedding: Tensor,
        samples: list[EchoDataSample] | None,
        output_tokens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embed the prompts that the samples carry.

        Args:
            embedding: Image embeddings (N, C, h, w), N the frames of all samples in their order.
            samples: Clips with the fields of ``prompts``.
            output_tokens: The decoder's; not used.

        Returns:
            As `embed`.

        Raises:
            ConfigError: A sample does not carry a prompt that this head was told to use.
        """
        fields = {
            field: self._collect(field, samples or [])
            for prompt in self.prompts
            for field in FIELDS[prompt]
        }
        return self.embed(
            embedding,
            points=fields.get("points"),
            labels=fields.get("point_labels"),
            boxes=fields.get("boxes"),
            masks=fields.get("mask_prompts"),
        )

    def name(self, sparse: Tensor, structures: Sequence[int] | None = None) -> Tensor:
        """Add the tokens that say which structures are meant, where the head has them.

        Args:
            sparse: (N, K, n, C).
            structures: As for `embed`.

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

    @staticmethod
    def _collect(field: str, samples: list[EchoDataSample]) -> Tensor:
        for sample in samples:
            if field not in sample:
                name = sample.get("sequence", "a clip")
                raise ConfigError(
                    f"ManualPromptHead: found no {field!r} in the sample of {name}, wants it as "
                    "a prompt; add the transform that makes it or change the head's prompts"
                )
        if not samples:
            raise ConfigError(f"ManualPromptHead: found no samples, wants {field!r} from them")
        return torch.cat([sample.get(field) for sample in samples])  # N, K, ...
