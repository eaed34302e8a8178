"""What a user brings back to an open film: label maps, and clicks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echozoo.apis.model import LoadedModel
from echozoo.apis.prompt_files import FORM, FilmPrompts, prompts_inside, prompts_of_film
from echozoo.apis.prompts import check_frame
from echozoo.datasets.anatomy import STRUCTURES, split_labels
from echozoo.errors import ConfigError, DataError
from echozoo.films.apart import apart
from echozoo.films.io import read_noted, read_shape

_OUTSIDE = "some labels lie outside the part of the film that is shown and are left out"


class Brought(NamedTuple):
    """Label maps (h, w) uint8 by frame, the structures that they hold, and notes for the user."""

    maps: dict[int, np.ndarray]
    structures: tuple[str, ...]
    notes: list[str]


def read_masks(path: Path, film: Any, structures: Sequence[str], frame: int) -> Brought:
    """Read label maps: of the whole film, or of one frame.

    They are put on the film's grid by their geometry, as those of a data set are
    (`echozoo.films.labels.on_grid_of`). Frames without any label are passed by: nobody can tell
    whether somebody looked there.

    Args:
        path: A file that `open_film` reads.
        film: The `echozoo.films.film.EchoFilm`.
        structures: Short names of those that are taken.
        frame: Where the map of a single frame goes.

    Raises:
        DataError: It cannot be read, lies elsewhere, is of another size, or has other labels.
        ConfigError: The film has no such frame.
    """
    whole = film.whole or film
    check_frame(film, frame)
    length, *size = apart(read_shape, path)
    if length not in (1, film.num_frames) or sorted(size) != sorted(whole.size):
        raise DataError(
            f"{path}: {length} label maps of {size[0]} x {size[1]} pixels, wanted 1 or"
            f" {film.num_frames} of {whole.size[0]} x {whole.size[1]}"
        )
    (labels, _), notes = apart(read_noted, path, True, whole.path)
    if labels.shape[1:] != tuple(whole.size):
        raise DataError(f"{path}: rows and columns are changed, and its geometry does not say so")
    if labels.max() > len(STRUCTURES):
        raise DataError(
            f"{path}: label {labels.max()}, wanted 0 to {len(STRUCTURES)}: background,"
            f" {', '.join(STRUCTURES)}"
        )
    held = [name for name, mask in split_labels(labels, structures).items() if mask.any()]
    if not held:
        raise DataError(f"{path}: no {' or '.join(structures)} in it")
    inside = film.inside(labels)
    if np.count_nonzero(inside) < np.count_nonzero(labels):
        notes.append(_OUTSIDE)
    frames = [frame] if length == 1 else range(length)
    maps = {at: one for at, one in zip(frames, inside, strict=True) if one.any()}
    return Brought(maps, tuple(held), [note.replace(f"{path}: ", "") for note in notes])


def read_clicks(content: bytes, loaded: LoadedModel, film: Any) -> list[FilmPrompts]:
    """Read prompts as the page and ``echozoo infer --prompts`` have them.

    Args:
        content: JSON: an object of `FORM`, or a list of them, in pixels of the film's file.
        loaded: The model.
        film: The `echozoo.films.film.EchoFilm`.

    Raises:
        ConfigError: It is none, or the film or the model cannot take it.
    """
    try:
        entries = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the file is no JSON ({error}); wanted {FORM}") from error
    entries = entries if isinstance(entries, list) else [entries]
    for entry in entries:
        # No names of films, and no names of files with masks: nothing here opens a file.
        if not isinstance(entry, Mapping) or set(entry) - {"frame", *STRUCTURES}:
            raise ConfigError(f"{str(entry)[:80]} is no prompt; wanted {FORM}, or a list of these")
    prompts = prompts_of_film(entries, Path(), loaded, film.whole or film)
    moved = prompts_inside(prompts, film)
    if moved is None:
        raise ConfigError("a prompt lies outside the part of the film that is shown")
    return moved
