"""Masks as a file that opens aligned with its film."""

from __future__ import annotations

import tempfile
from pathlib import Path

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
