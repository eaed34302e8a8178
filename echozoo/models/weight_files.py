"""Weight files, read without ever running code that lies in them.

A ``.pth`` file is a pickle, and a pickle may call any function when it is read. Everything here
goes through ``torch.load(weights_only=True)`` or safetensors; what they refuse stays refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from echozoo.errors import CheckpointError
from echozoo.registry import MEMORIES, MODELS, PROMPT_HEADS
from echozoo.whole_files import damage

# Where published files keep their weights, when the file is not the weights alone.
WRAPPERS = ("state_dict", "model", "network_weights")  # the last of nnU-Net


def load_safely(
    path: str | Path, map_location: str | torch.device | Callable | None = "cpu"
) -> Any:
    """Read a file of weights as it is, running no code from it.

    Args:
        path: A ``.pth`` or ``.pt`` file of torch, or a ``.safetensors`` file.
        map_location: As for ``torch.load``; a safetensors file takes no function here.

    Returns:
        What the file holds: dicts, lists, plain values and tensors.

    Raises:
        CheckpointError: The file is absent, empty, damaged, a web page, or would run code.
    """
    path = Path(path).expanduser()
    _check_worth_reading(path)
    if wrong := damage(path):
        raise CheckpointError(
            f"{path}: damaged, or not weights alone ({wrong}): download or copy it again"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path, device=str(map_location or "cpu"))
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # the file decides which: dozens of kinds have been seen
        raise CheckpointError(_why_not(path, error)) from error


def check_finite(weights: Mapping[str, Tensor], model: nn.Module, name: str) -> None:
    """Refuse weights that no training can go on from and no film can be segmented with.

    Args:
        weights: By the model's keys.
        model: Says which of them are parameters; what else it keeps may be infinite (masks).
        name: The file's name, for the error.

    Raises:
        CheckpointError: A parameter is NaN or infinite, or something else is NaN.
    """
    parameters = dict(model.named_parameters())
    bad = [
        key
        for key, value in weights.items()
        if value.is_floating_point()
        and not bool((value.isfinite() if key in parameters else ~value.isnan()).all())
    ]
    if bad:
        raise CheckpointError(
            f"{name}: NaN or infinite numbers in {len(bad)} of {len(weights)} tensors ({bad[0]}), "
            "wanted finite weights: its training has diverged; give an earlier checkpoint"
        )


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the weights in a file: a flat dict from key to tensor, on the CPU.

    Raises:
        CheckpointError: As `load_safely`, and where the file holds something else than weights.
    """
    return state_dict_of(load_safely(path), str(path))


def state_dict_of(content: Any, name: str) -> dict[str, Tensor]:
    """Take the weights out of what a file holds.

    Looks into ``{"state_dict": ...}`` and what else is in `WRAPPERS`, takes the ``module.`` of
    DataParallel off the keys, and puts the dictionaries of a file with one dictionary for each
    part together under the prefixes of files with all parts (see `KeyMap`).

    Returns:
        A flat dict from key to tensor.

    Raises:
        CheckpointError: There are no weights, or there is something else beside them.
    """
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        found = "an empty dictionary" if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(
            f"{name}: holds {found}, wanted a dictionary of tensors: give a file of weights"
        )
    if all(isinstance(part, Mapping) for part in content.values()):
        content = _join_parts(content, name)
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{name}: the entry {_short(key)} is of type {type(value).__name__}, wanted a "
                "tensor: give a file of weights alone"
            )
    return {key.removeprefix("module."): value for key, value in content.items()}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the texts in a file of weights, checking nothing.

    Args:
        path: A ``.safetensors`` file.

    Raises:
        CheckpointError: The file is absent or damaged, or is no safetensors file.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: found {path.suffix or 'no suffix'}, wanted .safetensors")
    load_safely(path)  # says what is wrong with a file that is absent or damaged
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def read_config(path: str | Path) -> dict[str, Any]:
    """Read the config that a published file of weights carries: JSON, so that none of it runs.

    Args:
        path: What `echozoo publish` has written.

    Raises:
        CheckpointError: As `read_metadata`, and where no config is inside.
    """
    try:
        config = json.loads(read_metadata(path).get("config", ""))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{path}: carries no config, wanted a file of echozoo publish: give the config too"
        )
    return config


def _join_parts(parts: Mapping[str, Mapping], name: str) -> dict[str, Tensor]:
    """Put the dictionaries of parts together as the parts' classes say (`KeyMap.alone`)."""
    marks = {}
    for registry in (MODELS, PROMPT_HEADS, MEMORIES):
        registry.import_from_location()
        for kind in registry.module_dict.values():
            said = getattr(kind, "published", ())
            for layout in said if isinstance(said, tuple) else ():
                marks |= layout.alone
    joined = {}
    for title, part in parts.items():
        prefix = next((prefix for mark, prefix in marks.items() if mark in part), None)
        if prefix is None:
            raise CheckpointError(
                f"{name}: the dictionary {_short(title)} is no part that is known here: give a "
                "file of weights, or one with a dictionary for each part of SAM"
            )
        joined |= {f"{prefix}{key}": value for key, value in part.items()}
    return joined


def _check_worth_reading(path: Path) -> None:
    if not path.exists():
        raise CheckpointError(f"{path}: no such file: check the path, or download the file first")
    if not path.is_file():
        raise CheckpointError(f"{path}: is not a file: give the path of one weights file")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}): check its permissions"
        ) from error
    if not start:
        raise CheckpointError(f"{path}: the file is empty: download or copy it again")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(
            f"{path}: is a web page, not weights: download the file itself, not the page about it"
        )


def _why_not(path: Path, error: Exception) -> str:
    # torch says why in the paragraph before the one that names its documentation.
    said = str(error).split("\n\n")[-2:][0]
    foreign = re.search(r"GLOBAL (.+?) (?:was not|whose module)", said, re.DOTALL)
    if foreign:
        # The file's author chose these letters: keep the message one plain line.
        name = re.sub(r"[^\w.]", "?", foreign[1])[:120]
        return (
            f"{path}: refused: it would run code ({name}): ask its author for a file of weights "
            "alone (a state_dict, or .safetensors)"
        )
    said = " ".join(said.split())[:160]
    return (
        f"{path}: damaged, or not weights alone ({type(error).__name__}: {said}): download or copy "
        "it again, or ask its author for a state_dict or .safetensors"
    )


def _short(key: object) -> str:
    return ascii(key)[:80]


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Hash weights: all tensors in the order of their names (by code point).

    Each adds its name, type and sizes as a line each, then its bytes in row-major order.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].contiguous()
        sides = " ".join(map(str, value.shape))
        digest.update(f"{key}\n{str(value.dtype).removeprefix('torch.')}\n{sides}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def file_sha256(path: str | Path) -> str:
    """Hash a whole file, as ``sha256sum`` does."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
