"""Prompts from text: what a structure is called becomes one token (AdaptiveSAM, 2308.03726)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.clip_text import text_features
from echozoo.models.contracts import KeyMap
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS


class TextNorm(nn.BatchNorm1d):
    """Batch norm over the texts, which all processes have alike.

    Taken over the processes too, as other batch norms are while several train, its running
    variance would be that of more texts than there are.
    """


@PROMPT_HEADS.register_module()
class TextPromptHead(SAMPromptHead):
    """A token for each structure, ``BN(ReLU(W f))`` of a feature f of its name; it prompts itself.

    The features are those that CLIP's text encoder has for the names, or of another encoder that
    ran before, from a file. Either file is needed to train alone: the features are among the
    model's weights. Without one they are a table that learns, and the log says so. Clicks, boxes
    and masks are taken too, as SAM does.

    Args:
        num_structures: K.
        text_dims: Numbers of a feature; CLIP ViT-B/32 has 512.
        features: A ``.npy`` file (K, text_dims), in the order of the structures.
        clip: A file of CLIP's weights, see `echozoo.models.clip_text`.
        names: What CLIP is asked for, K of them.
        vocabulary: CLIP's file of byte pairs; None is the one that mmseg has.
        **sizes: See `SAMPromptHead`.

    Raises:
        CheckpointError: A file cannot be read or holds something else.
        ConfigError: Both files, or another number of names than of structures.
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
        num_structures: int = 3,
        text_dims: int = 512,
        features: str | None = None,
        clip: str | None = None,
        names: Sequence[str] = (),
        vocabulary: str | None = None,
        **sizes: int,
    ) -> None:
        super().__init__(**sizes)
        self.affine = nn.Linear(text_dims, self.embed_dims)
        self.norm = TextNorm(self.embed_dims)
        shape = num_structures, text_dims
        self.source = features or clip
        if features and clip:
            raise ConfigError(
                f"{type(self).__name__}: found features={features!r} and clip={clip!r}, wants one"
            )
        if clip and len(names) != num_structures:
            raise ConfigError(
                f"{type(self).__name__}: found {len(names)} names, wants {num_structures} that "
                "CLIP is asked for, one a structure; give names=..."
            )
        if self.source is None:
            self.text = nn.Parameter(torch.randn(shape))
        elif not Path(self.source).expanduser().exists():
            self.register_buffer("text", torch.full(shape, torch.nan))  # until weights are loaded
        else:
            found = _read(features) if features else text_features(clip, names, vocabulary)
            self.register_buffer("text", _checked(found, shape, self.source))

    def init_weights(self) -> None:
        """Begin a training: say that there are no features, or refuse that their file is gone.

        Raises:
            CheckpointError: The file is not there.
        """
        if self.source is None:
            kind = type(self).__name__
            print_log(f"{kind}: no features of a text encoder, a table learns", "current")
        elif self.text.isnan().any():
            raise CheckpointError(
                f"{self.source}: no such file, wanted text features to train with; give their "
                "file, or leave it out for a table that learns"
            )

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed the names of all K structures: sparse (N, K, 1, C), dense (N, K, C, h, w)."""
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


def _read(path: str) -> Tensor:
    try:
        features = np.load(Path(path).expanduser(), allow_pickle=False)
        return torch.from_numpy(features.astype(np.float32))
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: {error}, wanted a .npy file of text features; write it with a text encoder, "
            "or leave features out for a table that learns"
        ) from error


def _checked(features: Tensor, shape: tuple[int, int], path: str) -> Tensor:
    if tuple(features.shape) != shape:
        raise CheckpointError(
            f"{path}: found {tuple(features.shape)}, wanted text features {shape}, one row a "
            "structure; set text_dims to the numbers of a row"
        )
    if not features.isfinite().all():
        raise CheckpointError(f"{path}: found NaN or infinite numbers, wanted text features")
    return features
