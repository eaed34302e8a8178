r"""A file of weights to pass on: safetensors, with what it is and hashes of itself inside.

A safetensors file is a header of plain text and the bytes of the tensors: reading it runs no code.
Everything beside the weights is text in the header's metadata, the config among it as JSON: a model
is built from it, and nothing of it runs.

Two hashes are in the metadata, in hexadecimal:

- ``weights_sha256``: SHA-256 over all tensors in the order of their names (by code point). Each
  adds the UTF-8 bytes of ``"<name>\n<dtype>\n<shape>\n"`` (dtype as torch names it without
  ``torch.``: "float32"; the sides of the shape in decimal with single blanks between them, nothing
  for a scalar; three line feeds) and then its elements in row-major order, little-endian.
- ``metadata_sha256``: SHA-256 over the UTF-8 bytes of all other metadata as JSON, names sorted, as
  ``json.dumps(..., sort_keys=True, ensure_ascii=False, separators=(",", ":"))`` writes it.

They show damage and careless changes. Who changes a file on purpose can write new hashes as well:
against that, compare with a hash from a source that you trust.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.weight_files import load_safely, read_metadata, weights_sha256
from echozoo.whole_files import written_whole

_HASHES = ("weights_sha256", "metadata_sha256")


def write_weights(path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write weights with their metadata and the hashes of both.

    Args:
        path: Ends in ``.safetensors``; replaced as a whole where it exists.
        weights: Tensors by name.
        metadata: Texts by name.

    Raises:
        ConfigError: The file cannot be written.
    """
    # safetensors refuses tensors that share memory.
    plain = {key: value.detach().cpu().clone().contiguous() for key, value in weights.items()}
    texts = {"format": "pt", **metadata, "weights_sha256": weights_sha256(plain)}
    texts["metadata_sha256"] = metadata_sha256(texts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            save_file(plain, part, metadata=texts)
            part.chmod(0o644)  # safetensors leaves it to its owner alone
    except (OSError, SafetensorError) as error:  # its own is what it says of a full disk
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot write there ({why})") from error


def metadata_sha256(metadata: Mapping[str, str]) -> str:
    """Hash metadata, but for this hash, as the head of this file defines it."""
    others = {key: text for key, text in metadata.items() if key != "metadata_sha256"}
    text = json.dumps(others, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def verify(path: str | Path) -> dict[str, str]:
    """Compare a file with the hashes inside.

    Args:
        path: What `write_weights` has written.

    Raises:
        CheckpointError: The file is absent, damaged, without hashes, or was changed.
    """
    metadata = read_metadata(path)
    absent = [name for name in _HASHES if name not in metadata]
    if absent:
        raise CheckpointError(
            f"{path}: found no {absent[0]} in its metadata, wanted a file of echozoo publish"
        )
    found = (weights_sha256(load_safely(path)), metadata_sha256(metadata))
    for name, digest in zip(_HASHES, found, strict=True):
        if digest != metadata[name]:
            raise CheckpointError(
                f"{path}: {name} is {digest[:12]}..., and {ascii(metadata[name][:12])}... when it "
                "was published: the file has been changed; get it again"
            )
    return metadata
