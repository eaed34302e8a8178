"""Prompts from text: what a structure is called becomes one token (AdaptiveSAM, 2308.03726)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from echozoo.errors import CheckpointError
from echozoo.models.contracts import KeyMap
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS


@PROMPT_HEADS.register_module()
class TextPromptHead(SAMPromptHead):
    """A token for each structure, ``BN(ReLU(W f))`` of a feature f of its name; it prompts itself.

    The features are those of a text encoder that ran before, in a file; those of CLIP ViT-B/32
    have 512 numbers. Without a file they are a table that learns, and the log says so. Clicks,
    boxes and masks are taken too, as SAM does.

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
        num_structures: K.
        text_dims: Numbers of a feature.
        features: A ``.npy`` file (K, text_dims), in the order of the structures; None: a table.

    Raises:
        CheckpointError: The file cannot be read or holds something else.
    """

    published = (
        *SAMPromptHead.published,
        KeyMap(
            {r"Text_Embedding_Affine\.0\.": "affine.", r"Text_Embedding_Affine\.2\.": "norm."},
            holds=r"(affine|norm)\..+",  # whose text the features are of, no file says
        ),
    )

    def __init__(
        self,
        embed_dims: int,
        img_size: int,
        embedding_size: int,
        num_structures: int = 3,
        text_dims: int = 512,
        features: str | None = None,
    ) -> None:
        super().__init__(embed_dims, img_size, embedding_size)
        self.affine = nn.Linear(text_dims, embed_dims)
        self.norm = nn.BatchNorm1d(embed_dims)
        shape = num_structures, text_dims
        if features is None:
            self.text = nn.Parameter(torch.randn(shape))
            print_log("TextPromptHead: no features of a text encoder, a table learns", "current")
        else:
            self.register_buffer("text", _read(features, shape))

    def embed(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed the names of all K structures, or other prompts where there are some.

        Args:
            features: Of N images, (N, C, h, w); returned as they are.
            prompts: None, or those of `SAMPromptHead.embed`.
            output_tokens: The decoder's; not used.

        Returns:
            sparse (N, K, 1, C), dense (N, K, C, h, w) and the features.
        """
        if prompts.kinds:
            return super().embed(features, prompts)
        tokens = self.tokens(self.text)
        if prompts.structures is not None:
            tokens = tokens[list(prompts.structures)]
        batch = len(features), len(tokens)
        dense = self.encoder.no_mask_embed.weight[..., None, None]
        dense = dense.expand(*batch, -1, *features.size)
        return tokens[None, :, None].expand(*batch, 1, -1), dense, features

    def tokens(self, text: Tensor) -> Tensor:
        """Tokens (K, C) of features (K, D); in training the norm's batch are the structures."""
        hidden = self.affine(text.float()).relu()
        if self.training and len(text) > 1:
            return self.norm(hidden)
        norm = self.norm
        return nn.functional.batch_norm(
            hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )


def _read(path: str, shape: tuple[int, int]) -> Tensor:
    try:
        features = np.load(Path(path).expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{path}: {error}, wanted a .npy file of text features {shape}; write it with a text "
            "encoder, or leave features out for a table that learns"
        ) from error
    if features.shape != shape:
        raise CheckpointError(
            f"{path}: found {features.shape}, wanted text features {shape}, one row a structure"
        )
    return torch.from_numpy(features.astype(np.float32))
