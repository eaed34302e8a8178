"""What a run has left in its work folder: checkpoints, the best of them, and its config."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from echozoo.errors import CheckpointError, ConfigError
from echozoo.whole_files import damage


def find_checkpoint(folder: str | Path, best: bool) -> Path | None:
    """Find the checkpoint of a run.

    Args:
        folder: The run's work folder.
        best: Prefer the best one by the run's metric; else, and where there is none, the last.

    Returns:
        The file, or None where the run has left none.
    """
    found = sorted(Path(folder).glob("best_*.pth")) if best else []
    if len(found) > 1:  # a run was killed before it removed the last but one
        return max(found, key=_merit)
    return next(iter(found or _last_checkpoints(Path(folder))), None)


def find_whole_checkpoint(folder: str | Path) -> tuple[Path | None, list[str]]:
    """Find the newest checkpoint of a run that has been written to its end.

    Returns:
        - The file, or None where there is none.
        - What is wrong with newer ones, a line each.
    """
    damaged = []
    for path in _last_checkpoints(Path(folder)):
        wrong = damage(path) or ("" if describe(path) else "it is no checkpoint of a run")
        if not wrong:
            return path, damaged
        damaged.append(f"{path}: damaged: {wrong}")
    return None, damaged


def checkpoint_file(path: str | Path, best: bool) -> str:
    """Return the file that a CHECKPOINT argument means.

    Args:
        path: A file, or a run's work folder.
        best: For a folder: the best checkpoint rather than the last.

    Raises:
        CheckpointError: Nothing is there, or the folder has no checkpoint.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = find_checkpoint(path, best)
        if found is None:
            raise CheckpointError(f"{path}: no checkpoint in this folder; has the run trained?")
        return str(found)
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.glob("*.pth")))
        raise CheckpointError(f"{path}: no such checkpoint{there and f'; there are {there}'}")
    return str(path)


def find_config(folder: str | Path) -> Path:
    """Find the config that a run has kept, by the name that its checkpoints carry.

    A config is Python code that runs when it is read: another script that lies in the folder is
    none.

    Raises:
        ConfigError: There is none, or nothing says which of several it is.
    """
    folder = Path(folder)
    there = sorted(folder.glob("*.py"))
    checkpoint = find_checkpoint(folder, best=True)
    meta = describe(checkpoint).get("meta", {}) if checkpoint else {}
    if name := meta.get("config_file"):
        there = [path for path in there if path.name == name]
    elif begun := str(meta.get("experiment_name") or ""):
        # Of an earlier version: CONFIG-PROCESS-NUMBER, or what the config called it.
        stem = re.sub(r"-\d+-\d+$", "", begun)
        there = [path for path in there if path.stem == stem] or there
    if len(there) == 1:
        return there[0]
    found = ", ".join(path.name for path in there)
    raise ConfigError(
        f"{folder}: its checkpoint does not say which of {found} is the run's config; name it"
        if there
        else f"{folder}: no config{f' {name}' if name else ''} in this folder; give a config or a "
        "run's folder"
    )


def describe(checkpoint: str | Path) -> dict[str, Any]:
    """Read what a checkpoint says of itself; its tensors stay on the disk, no code runs.

    Returns:
        What is in the file; empty where it is no checkpoint of a run.
    """
    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    except Exception:  # the file decides which: dozens of kinds have been seen
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("meta"), dict) else {}


def _last_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints that are no best ones: the one that mmengine wrote down, then others."""
    numbered = [p for p in folder.glob("*_*.pth") if p.stem.split("_")[-1].isdigit()]
    numbered = [p for p in numbered if not p.name.startswith("best_")]
    numbered.sort(key=_number, reverse=True)
    pointer = folder / "last_checkpoint"
    # The name only: the folder may have been moved since the path was written.
    name = Path(pointer.read_text(errors="replace").strip()).name if pointer.is_file() else ""
    last = [folder / name] if name and (folder / name).is_file() else []
    return [*last, *(path for path in numbered if path not in last)]


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[-1])


def _merit(best: Path) -> tuple[bool, float, int]:
    """Compare best checkpoints by the run's first metric, as they carry it; then by their epoch."""
    content = describe(best)
    info = (content.get("message_hub") or {}).get("runtime_info") or {}
    # Earlier versions wrote no rule; their configs say "greater".
    (metric, rule), *others = content.get("meta", {}).get("save_best") or [(None, "greater")]
    score = info.get(f"best_score_{metric}" if others else "best_score")
    named = metric is None or best.name.startswith(f"best_{metric}_".replace("/", "_"))
    if not isinstance(score, (int, float)) or math.isnan(score):
        return False, -math.inf, _number(best)
    return named, -score if rule == "less" else score, _number(best)
