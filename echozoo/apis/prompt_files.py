"""Prompts that come as a dict, a JSON file or a label map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.apis.model import LoadedModel
from echozoo.apis.prompts import (
    StructurePrompt,
    check_frame,
    check_prompt,
    make_prompt,
    prompts_from_masks,
)
from echozoo.datasets.anatomy import STRUCTURES, split_labels
from echozoo.errors import ConfigError
from echozoo.films.cache import decoded_volume
from echozoo.films.film import EchoFilm
from echozoo.films.io import IMAGE_SUFFIXES

FORM = '{"frame": 0, "lv": {"point": [x, y]}, "la": {"box": [x1, y1, x2, y2]}}'
_KEYS = ("point", "points", "labels", "box")

Entries = Mapping | Sequence[Mapping]


@dataclass(frozen=True)
class FilmPrompts:
    """What is prompted in one frame of a film.

    Attributes:
        frame: From 0.
        structures: A prompt by structure.
    """

    frame: int
    structures: dict[str, StructurePrompt]


def read_prompts(source: Entries | str | Path) -> tuple[Entries, Path]:
    """Read prompts: a dict or a list, a JSON file, or a label map for the first frame.

    Args:
        source: The prompts of one film (see `FORM`; ``"mask": FILE`` takes a label map), a list of
            these where several of its frames are prompted, or such of several films by the names
            of their files.

    Returns:
        The dict or list, and the folder that file names in it are relative to.

    Raises:
        ConfigError: The file is absent or no JSON of this form.
    """
    if isinstance(source, (Mapping, list, tuple)):
        return source, Path()
    path = Path(source).expanduser()
    if path.name.endswith(IMAGE_SUFFIXES):
        return {"mask": path.name}, path.parent
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: prompts cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: prompts are no JSON ({error}); wanted {FORM}") from error
    if not isinstance(content, (dict, list)):
        raise ConfigError(f"{path}: prompts are a {type(content).__name__}, wanted {FORM}")
    return content, path.parent


def choose_prompts(
    prompts: str | Path | Entries, loaded: LoadedModel, coarse: LoadedModel | None
) -> tuple[Entries, Path] | None:
    """The prompts that were given; None where the model or another one makes them.

    Args:
        prompts: As for `read_prompts`; "auto" or "automatic" where none are given.
        loaded: The model.
        coarse: The one that prompts it, None without.

    Raises:
        ConfigError: The model needs prompts and has none, or needs none and has some.
    """
    given = not isinstance(prompts, (str, Path)) or str(prompts) not in ("auto", "automatic")
    name = type(loaded.model).__name__
    if coarse and loaded.automatic:
        raise ConfigError(f"{name} needs no prompts: leave the coarse model out")
    if given and not loaded.understands:
        raise ConfigError(f"{name} takes no prompts: leave them out")
    if given and coarse:
        raise ConfigError("prompts and a coarse model: give one of the two")
    if given:
        return read_prompts(prompts)
    if coarse is None and not loaded.automatic:
        raise ConfigError(
            f"{Path(loaded.cfg.filename or name).name} needs prompts"
            f" ({' or '.join(loaded.understands)}): give clicks or boxes ({FORM}), a label"
            " map, or a coarse model to make them"
        )
    return None


def prompts_of_film(
    source: Entries, folder: Path, loaded: LoadedModel, film: EchoFilm
) -> list[FilmPrompts]:
    """Choose and check the prompts of one film.

    Returns:
        Of each frame that is prompted, the first frame first.

    Raises:
        ConfigError: There are none for this film, or it or the model cannot take them.
    """
    found: dict[int, dict[str, StructurePrompt]] = {}
    for entry in _entries(source, film):
        frame = entry.get("frame", 0)
        check_frame(film, frame)
        structures = found.setdefault(frame, {})
        if "mask" in entry:
            structures |= _from_label_map(folder / str(entry["mask"]), loaded, film, frame)
        for name, value in entry.items():
            if name not in ("frame", "mask"):
                structures[name] = _from_entry(name, value, film)
        for name, prompt in structures.items():
            check_prompt(loaded, film, frame, name, prompt)
        if not structures:
            raise ConfigError(f"{film.name}: no structure is prompted; wanted {FORM}")
    return [FilmPrompts(frame, found[frame]) for frame in sorted(found)]


def prompts_inside(prompts: Sequence[FilmPrompts], film: EchoFilm) -> list[FilmPrompts] | None:
    """Prompts of a whole film as those of its sector; None where one lies outside of that.

    Args:
        prompts: In pixels of ``film.whole``.
        film: The film of the sector.
    """
    corner = np.array(film.place[::-1], np.float32)  # (x, y)
    size = np.array(film.size[::-1])
    moved = [FilmPrompts(one.frame, {}) for one in prompts]
    for one, inside in zip(prompts, moved, strict=True):
        for name, prompt in one.structures.items():
            box = None if prompt.box is None else prompt.box - np.tile(corner, 2)
            mask = None if prompt.mask is None else film.inside(prompt.mask)
            places = [prompt.points - corner, *([] if box is None else [box.reshape(2, 2)])]
            if any(((place < -0.5) | (place > size - 0.5)).any() for place in places):
                return None
            if mask is not None and mask.sum() < prompt.mask.sum():
                return None
            inside.structures[name] = StructurePrompt(places[0], prompt.labels, box, mask)
    return moved


def _entries(source: Entries, film: EchoFilm) -> Sequence[Mapping]:
    """The entries of one film, which may be there by its name."""
    entries: Any = source
    if isinstance(source, Mapping) and source and not set(source) & {*STRUCTURES, "frame", "mask"}:
        names = [film.name] if film.path is None else [str(film.path), film.path.name, film.name]
        entries = next((source[name] for name in names if name in source), None)
        if not isinstance(entries, (Mapping, list, tuple)):
            raise ConfigError(
                f"{film.name}: no prompts for this film, there are some for"
                f" {', '.join(map(str, list(source)[:4]))}; wanted {FORM}, by the name of a file"
                " for several films"
            )
    entries = [entries] if isinstance(entries, Mapping) else entries
    for entry in entries or [None]:
        if not isinstance(entry, Mapping):
            raise ConfigError(
                f"{film.name}: prompted by {str(entry)[:80]}, wanted {FORM}, or a list of these"
            )
    return entries


def _from_entry(name: str, value: Any, film: EchoFilm) -> StructurePrompt:
    if not isinstance(value, Mapping) or not value or set(value) - set(_KEYS):
        found = list(value) if isinstance(value, Mapping) else value
        raise ConfigError(
            f"{film.name}: {name!r} is prompted by {found!r}, wanted {', '.join(_KEYS)}: {FORM}"
        )
    points = [value["point"]] if "point" in value else value.get("points", ())
    return make_prompt(points, value.get("labels"), value.get("box"), name=f"{film.name}, {name}")


def _from_label_map(
    path: Path, loaded: LoadedModel, film: EchoFilm, frame: int
) -> dict[str, StructurePrompt]:
    labels = decoded_volume(path, label=True, image=film.path).array
    if labels.shape[1:] != tuple(film.size) or len(labels) not in (1, film.num_frames):
        raise ConfigError(
            f"{path}: label map of {labels.shape} (frames, rows, columns), wanted one frame or"
            f" {film.num_frames} of {tuple(film.size)} as {film.name} has"
        )
    frame_labels: np.ndarray = labels[frame if len(labels) == film.num_frames else 0]
    prompts = prompts_from_masks(split_labels(frame_labels, loaded.structures), loaded.prompts)
    if not prompts:
        raise ConfigError(f"{path}: frame {frame} has no {' or '.join(loaded.structures)} in it")
    return prompts
