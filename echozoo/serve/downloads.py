"""Files to take away: masks that open aligned with their film, and the clicks behind them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.films.io import LabelWriter
from echozoo.serve.workspace import Workspace


def write_masks(workspace: Workspace) -> Path:
    """Write the label maps of all frames, 0 where nothing was segmented.

    Returns:
        A .nii.gz file with the geometry of the film, in the film's private folder.
    """
    film = workspace.film
    whole = film.whole or film
    path = Path(tempfile.mkdtemp(dir=workspace.folder)) / "masks.nii.gz"
    with LabelWriter(path, (film.num_frames, *whole.size), whole.geometry) as writer:
        for frame in range(film.num_frames):
            writer.append(film.put_back(workspace.masks.label_map(frame)[None]))
    return path


def clicks(workspace: Workspace) -> dict[str, Any] | list[dict[str, Any]]:
    """What was clicked, in pixels of the film's file.

    Returns:
        ``{"frame": 0, "lv": {"points": ..., "labels": ..., "box": ...}}`` as ``echozoo infer
        --prompts`` takes it; a list of these where there is more than one frame.
    """
    corner = np.array(workspace.film.place[::-1])  # (x, y)
    entries = []
    for frame, given in sorted(workspace.prompts.items()):
        entry: dict[str, Any] = {"frame": frame}
        for name, prompt in given.items():
            entry[name] = {}
            if len(prompt.points):
                entry[name]["points"] = (prompt.points + corner).tolist()
                entry[name]["labels"] = prompt.labels.tolist()
            if prompt.box is not None:
                entry[name]["box"] = (prompt.box + np.tile(corner, 2)).tolist()
        if given:
            entries.append(entry)
    return entries[0] if len(entries) == 1 else entries
