"""Every checkpoint that mmengine reads is read without running code from it, and written whole.

mmengine falls back to a full unpickling where a safe one fails, and resuming runs the text of the
checkpoint's ``meta["config"]`` as Python. Importing this module closes both, for ``load_from``,
``resume``, ``init_cfg=dict(type="Pretrained")`` and everything else that goes through mmengine's
`CheckpointLoader`. What mmengine writes, it writes under its final name: a process that is killed,
or a full disk, leaves a cut file there. `WholeFiles` closes that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner import CheckpointLoader

from echozoo.errors import CheckpointError
from echozoo.models.weight_files import load_safely
from echozoo.whole_files import written_whole


class WholeFiles(LocalBackend):
    """mmengine's access to this machine's disk; a file that is replaced stays until the new is."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a file.

        Args:
            obj: Its content.
            filepath: Its name; folders are made.
        """
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with written_whole(filepath) as part:
            super().put(obj, part)


def load_from_file(
    filename: str, map_location: str | torch.device | Callable | None = None
) -> dict[str, Any]:
    """Read a checkpoint from this machine's disk, for mmengine.

    Returns:
        The checkpoint, without the config texts that mmengine would run.

    Raises:
        CheckpointError: The file is absent, damaged, holds no dictionary, or would run code.
    """
    checkpoint = load_safely(filename, map_location)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f"{filename}: holds {type(checkpoint).__name__}, wanted a dictionary: give a checkpoint"
        )
    _drop_config_texts(checkpoint)
    return checkpoint


def load_from_elsewhere(filename: str, map_location: object = None) -> dict[str, Any]:
    """Refuse an address: what a run starts from is a file that somebody has looked at.

    Raises:
        CheckpointError: Always.
    """
    raise CheckpointError(
        f"{filename}: weights are read from files only: download it first "
        "(echozoo download --list) and give the file's path"
    )


def _drop_config_texts(checkpoint: dict[str, Any]) -> None:
    # Runner.resume executes the first, mmengine's inferencer the second (Config.fromstring).
    holders = [(checkpoint.get("meta"), "config")]
    hub = checkpoint.get("message_hub")
    if isinstance(hub, dict):
        holders.append((hub.get("runtime_info"), "cfg"))
        holders.append((hub.get("resumed_keys"), "cfg"))
    for holder, key in holders:
        if isinstance(holder, dict):
            holder.pop(key, None)


def install() -> None:
    """Put these in place of mmengine's own: the loaders for every kind of address."""
    for prefix in list(CheckpointLoader._schemes):
        loader = load_from_elsewhere if prefix else load_from_file
        CheckpointLoader.register_scheme(prefix, loader, force=True)
    register_backend("local", WholeFiles, force=True, prefixes="")


install()
