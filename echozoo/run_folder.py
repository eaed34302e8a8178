"""What a run has left in its work folder."""

from __future__ import annotations

from pathlib import Path

from echozoo.errors import CheckpointError


def find_checkpoint(folder: str | Path, best: bool) -> Path | None:
    """Find the checkpoint of a run.

    Args:
        folder: The run's work folder.
        best: Prefer the best one by the run's metric; else, and where there is none, the last.

    Returns:
        The file, or None where the run has left none.
    """
    folder = Path(folder)
    found = sorted(folder.glob("best_*.pth"), key=lambda p: p.stat().st_mtime)
    if best and found:
        return found[-1]
    pointer = folder / "last_checkpoint"
    if pointer.is_file():
        # The name only: the folder may have been moved since the path was written.
        last = folder / Path(pointer.read_text().strip() or "?").name
        if last.is_file():
            return last
    # A run that was killed while it replaced its checkpoint has left one without a pointer.
    numbered = [p for p in folder.glob("*_*.pth") if p.stem.split("_")[-1].isdigit()]
    numbered = [p for p in numbered if not p.name.startswith("best_")]
    return max(numbered, key=lambda p: int(p.stem.split("_")[-1]), default=None)


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
