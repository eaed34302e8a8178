"""CLIP's text encoder (arXiv 2103.00020): what a name means, as numbers that an image can match.

The weights come from a file of one's own, in the layout of OpenAI's state dict or of its conversion
by Hugging Face; sizes follow from their shapes, and what belongs to CLIP's image encoder is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmseg.utils.tokenizer import SimpleTokenizer, default_bpe
from torch import Tensor, nn

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.weight_files import check_finite, read_weights

HEAD_DIMS = 64  # channels of a head of attention, in CLIPs of every size
_START, _END = "<start_of_text>", "<end_of_text>"
# What stands in either layout, and in the module below.
_RENAMES = (
    (r"(text_model\.embeddings\.)?token_embedding\.weight", "words.weight"),
    (r"(text_model\.embeddings\.position_embedding\.weight|positional_embedding)", "positions"),
    (r"(transformer\.resblocks|text_model\.encoder\.layers)\.(\d+)\.(.+)", r"layers.\2.\3"),
    (r"(ln_final|text_model\.final_layer_norm)\.(.+)", r"norm.\2"),
    (r"text_projection(\.weight)?", "projection"),
)
_RENAMES_OF_LAYERS = {
    ".attn.": ".self_attn.",
    ".ln_": ".norm",
    ".layer_norm": ".norm",
    ".mlp.c_fc.": ".linear1.",
    ".mlp.c_proj.": ".linear2.",
    ".mlp.fc1.": ".linear1.",
    ".mlp.fc2.": ".linear2.",
}


class CLIPText(nn.Module):
    """A transformer over the words of a text, each of which sees those before it.

    Args:
        words: Entries of the vocabulary.
        length: Most words of a text, with its start and end.
        dims: Channels; `HEAD_DIMS` divides them.
        depth: Layers.
        mlp_dims: Hidden width of the layers' MLPs.
        out_dims: Numbers of a feature.
    """

    def __init__(
        self, words: int, length: int, dims: int, depth: int, mlp_dims: int, out_dims: int
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, dims)
        self.positions = nn.Parameter(torch.empty(length, dims))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dims, dims // HEAD_DIMS, mlp_dims, 0.0, _quick_gelu, 1e-5, True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dims)
        self.projection = nn.Parameter(torch.empty(dims, out_dims))

    def forward(self, words: Tensor) -> Tensor:
        """Features (K, out_dims), not normalised, of texts (K, L) that end in their largest word.

        Words after the end have no effect.
        """
        x = self.words(words) + self.positions[: words.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1], device=x.device)
        for layer in self.layers:
            x = layer(x, src_mask=mask)
        ends = x[torch.arange(len(x)), words.argmax(1)]
        return self.norm(ends) @ self.projection


def text_features(path: str, names: Sequence[str], vocabulary: str | None = None) -> Tensor:
    """Encode names by the CLIP that a file holds.

    Args:
        path: A file of weights, see `echozoo.models.weight_files`.
        names: K of them.
        vocabulary: CLIP's file of byte pairs (``bpe_simple_vocab_16e6.txt.gz``); None is the one
            that mmseg has.

    Returns:
        (K, D) float32.

    Raises:
        CheckpointError: A file cannot be read, or holds something else.
        ConfigError: A name is too long.
    """
    with torch.device("cpu"), torch.no_grad():  # where a model is built without memory, too
        encoder = _read(path)
        words = _words(names, vocabulary, len(encoder.positions))
        if words.max() >= encoder.words.num_embeddings:
            raise CheckpointError(
                f"{path}: found {encoder.words.num_embeddings} words, wanted those of the "
                f"vocabulary, more than {words.max()}; give the vocabulary of these weights"
            )
        return encoder(words)


def _read(path: str) -> CLIPText:
    weights = _renamed(read_weights(path))
    try:
        projection, hidden = weights["projection"], weights["layers.0.linear1.weight"]
        words, positions = weights["words.weight"], weights["positions"]
    except KeyError as error:
        raise CheckpointError(
            f"{path}: found no {error.args[0]}, wanted the weights of CLIP's text encoder, as "
            "OpenAI or Hugging Face name them"
        ) from None
    depth = len({key.split(".")[1] for key in weights if key.startswith("layers.")})
    dims, out_dims = projection.shape
    encoder = CLIPText(len(words), len(positions), dims, depth, len(hidden), out_dims).eval()
    weights = {key: value.float() for key, value in weights.items()}
    check_finite(weights, encoder, path)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path}: is no text encoder of CLIP: {said}") from error
    return encoder


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text encoder's weights by the names of `CLIPText`."""
    own = {}
    for key, value in weights.items():
        for theirs, ours in _RENAMES:
            if re.fullmatch(theirs, key):
                # Hugging Face keeps the projection as a linear layer does.
                value = value.T if key == "text_projection.weight" else value
                key = re.sub(theirs, ours, key)
                for old, new in _RENAMES_OF_LAYERS.items():
                    key = key.replace(old, new)
                own[key] = value
    # Queries, keys and values are one matrix here.
    for key in [key for key in own if ".self_attn.q_proj." in key]:
        parts = [own.pop(key.replace(".q_proj.", f".{part}_proj."), None) for part in "qkv"]
        if all(part is not None for part in parts):
            own[key.replace(".q_proj.", ".in_proj_")] = torch.cat(parts)
    return own


def _words(names: Sequence[str], vocabulary: str | None, length: int) -> Tensor:
    """Numbers (K, L) of the words of names, filled up with zeros."""
    path = str(Path(vocabulary).expanduser()) if vocabulary else default_bpe()
    try:
        tokenizer = SimpleTokenizer(path)
        start, end = tokenizer.encoder[_START], tokenizer.encoder[_END]
        texts = [[start, *tokenizer.encode(name), end] for name in names]
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise CheckpointError(
            f"{path}: {error}, wanted CLIP's vocabulary of byte pairs, a .txt.gz file"
        ) from error
    for name, text in zip(names, texts, strict=True):
        if len(text) > length:
            raise ConfigError(
                f"clip: found {len(text) - 2} words in {name!r}, wants {length - 2} at most"
            )
    most = max(map(len, texts))
    return torch.tensor([text + [0] * (most - len(text)) for text in texts])


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)
