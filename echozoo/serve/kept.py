"""The kept session of a film: all that was done on it, as plain data, and as one file.

The file is a zip archive: ``session.json``, and the label maps, one member a frame and layer, each
a zlib stream of (h, w) bytes as `echozoo.serve.masks` holds them. Nothing in it is ever run; all of
it is checked against the film when it is read.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.apis.prompts import StructurePrompt, make_prompt
from echozoo.datasets.anatomy import STRUCTURES, Structure
from echozoo.errors import DataError, EchoZooError, StorageError
from echozoo.whole_files import written_whole

Layer = dict[int, tuple[bytes, frozenset[str]]]
"""By frame: a packed label map, and the structures that were looked for in it."""

_VERSION = 1
_LAYERS = ("drawn", "clicked", "carried")
_MOST_BYTES = 2**30  # of all members, as stored


@dataclass
class Choices:
    """What a person has decided about a film.

    Attributes:
        done: Whether the film is done with.
        ed: The frame of end-diastole, None where it is told from the areas.
        es: Likewise of end-systole.
        spacing: (dy, dx) mm a pixel that was typed, None where the file's counts.
    """

    done: bool = False
    ed: int | None = None
    es: int | None = None
    spacing: tuple[float, float] | None = None


@dataclass
class KeptSession:
    """All that was done on a film.

    Attributes:
        frames: T.
        whole: (H, W) of the film's file.
        place: Row and column where the part that was shown begins.
        size: (h, w) of that part: the sector, or all of it.
        prompts: What was clicked, by frame and structure, in pixels of the part.
        layers: Label maps (h, w) of the part, by the name of the layer.
        choices: What was decided.
        listed: Name and bytes of the film's file, by which the list of films finds it.
    """

    frames: int
    whole: tuple[int, int]
    place: tuple[int, int]
    size: tuple[int, int]
    prompts: dict[int, dict[str, StructurePrompt]] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)
    listed: tuple[str, int] = ("", 0)

    @classmethod
    def of(cls, film: Any, **given: Any) -> KeptSession:
        """A session of an `echozoo.films.film.EchoFilm`, empty but for what is given."""
        whole = (film.whole or film).size
        return cls(film.num_frames, tuple(whole), tuple(film.place), tuple(film.size), **given)

    @property
    def begun(self) -> bool:
        """Whether there is anything to keep."""
        clicked = any(self.prompts.values())
        return clicked or any(self.layers.values()) or self.choices != Choices()

    @property
    def state(self) -> str:
        """How far the film is: "untouched", "begun" or "done"."""
        return "done" if self.choices.done else "begun" if self.begun else "untouched"


def write_session(session: KeptSession, path: Path) -> None:
    """Write a session in place of the one before; at every moment the file is whole.

    Raises:
        StorageError: It cannot be written.
    """
    head = {
        "version": _VERSION,
        **{name: getattr(session, name) for name in ("frames", "whole", "place", "size", "listed")},
        "choices": asdict(session.choices),
        "prompts": [
            {"frame": frame, "structure": name, **plain_prompt(prompt)}
            for frame, prompts in sorted(session.prompts.items())
            for name, prompt in prompts.items()
        ],
        "layers": {
            name: {str(frame): sorted(looked_for) for frame, (_, looked_for) in layer.items()}
            for name, layer in session.layers.items()
        },
    }
    try:
        with written_whole(path) as part, zipfile.ZipFile(part, "w") as archive:
            archive.writestr("session.json", json.dumps(head))
            for name, layer in session.layers.items():
                for frame, (packed, _) in layer.items():
                    archive.writestr(f"{name}/{frame}", packed)
    except OSError as error:
        raise StorageError.of(path, error) from error


def plain_prompt(prompt: StructurePrompt) -> dict[str, Any]:
    """A prompt as numbers: ``points``, ``labels`` and ``box``."""
    return {
        "points": prompt.points.tolist(),
        "labels": prompt.labels.tolist(),
        "box": None if prompt.box is None else prompt.box.tolist(),
    }


def read_head(path: Path) -> tuple[tuple[str, int], bool]:
    """Name and bytes of the film that a session is of, and whether it is done with.

    Raises:
        DataError: The file is damaged.
    """
    with _checked(path), zipfile.ZipFile(path) as archive:
        head = _head(archive)
        name, size = head["listed"]
        return (str(name), int(size)), bool(head["choices"]["done"])


def read_session(path: Path, film: Any) -> KeptSession:
    """Read the session of a film.

    Where the film is cut to another part than it was then (``--no-crop``), label maps are moved,
    and prompts that lie outside are left out: their masks stay.

    Raises:
        DataError: The file is damaged, or is of a film of other frames.
    """
    now = KeptSession.of(film)
    with _checked(path), zipfile.ZipFile(path) as archive:
        head = _head(archive)
        then = KeptSession(*(_numbers(head[name]) for name in ("frames", "whole", "place", "size")))
        if (then.frames, then.whole) != (now.frames, now.whole):
            raise DataError(f"of {then.frames} frames of {then.whole}, the film has {now.frames}")
        then.layers = {
            _layer(name): {
                _frame(frame, now): (
                    _packed(archive, f"{name}/{frame}", then.size),
                    frozenset(map(_structure, looked_for)),
                )
                for frame, looked_for in layer.items()
            }
            for name, layer in head["layers"].items()
        }
        then.choices = _choices(head["choices"], now)
        for entry in head["prompts"]:
            prompt = make_prompt(entry["points"], entry["labels"], entry["box"])
            if not _is_inside(prompt, then.size):
                raise DataError("a prompt outside of the film")
            there = then.prompts.setdefault(_frame(entry["frame"], now), {})
            there[_structure(entry["structure"])] = prompt
    return then if (then.place, then.size) == (now.place, now.size) else _moved(then, film)


@contextlib.contextmanager
def _checked(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file raises into one line that names it."""
    damage = (OSError, EchoZooError, zipfile.BadZipFile, zlib.error, RuntimeError)
    shape = (ValueError, TypeError, LookupError, AttributeError, EOFError)
    try:
        yield
    except (*damage, *shape) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path.name}: no whole session ({reason})") from error


def _head(archive: zipfile.ZipFile) -> dict[str, Any]:
    if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
        raise DataError(f"of more than {_MOST_BYTES} bytes")
    head = json.loads(archive.read("session.json"))
    if head["version"] != _VERSION:
        raise DataError(f"of version {head['version']!r}, wanted {_VERSION}")
    return head


def _numbers(value: Any) -> Any:
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) not in (1, 2) or not all(type(n) is int and 0 <= n < 2**31 for n in numbers):
        raise DataError(f"a size of {value!r}")
    return tuple(numbers) if isinstance(value, list) else value


def _frame(value: Any, film: KeptSession) -> int:
    frame = int(value)
    if not 0 <= frame < film.frames:
        raise DataError(f"frame {frame} of {film.frames}")
    return frame


def _structure(name: Any) -> str:
    if name not in STRUCTURES:
        raise DataError(f"structure {name!r}")
    return name


def _layer(name: Any) -> str:
    if name not in _LAYERS:
        raise DataError(f"layer {name!r}")
    return name


def _packed(archive: zipfile.ZipFile, name: str, size: Sequence[int]) -> bytes:
    packed, pixels = archive.read(name), size[0] * size[1]
    reader = zlib.decompressobj()
    labels = reader.decompress(packed, pixels + 1)
    if len(labels) != pixels or not reader.eof:
        raise DataError(f"{name}: no map of {pixels} pixels")
    if max(labels) > max(Structure):
        raise DataError(f"{name}: label {max(labels)}")
    return packed


def _choices(given: Mapping[str, Any], film: KeptSession) -> Choices:
    frames = {
        name: None if given[name] is None else _frame(given[name], film) for name in ("ed", "es")
    }
    spacing = given["spacing"]
    if spacing is not None:
        dy, dx = (float(step) for step in spacing)
        if not (0 < dy < 1e3 and 0 < dx < 1e3):
            raise DataError(f"spacing {spacing!r}")
        spacing = dy, dx
    return Choices(bool(given["done"]), frames["ed"], frames["es"], spacing)


def _moved(session: KeptSession, film: Any) -> KeptSession:
    """A session of another part of the film as one of the part that is shown now."""
    shift = np.subtract(session.place, film.place)  # (row, column)
    top, left = session.place
    height, width = session.size

    def moved(packed: bytes) -> bytes:
        labels = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(session.size)
        whole = np.zeros(session.whole, np.uint8)
        whole[top : top + height, left : left + width] = labels
        return zlib.compress(np.ascontiguousarray(film.inside(whole)).tobytes(), 1)

    def shifted(prompt: StructurePrompt) -> StructurePrompt:
        by = shift[::-1].astype(np.float32)  # (x, y)
        box = None if prompt.box is None else prompt.box + np.tile(by, 2)
        return StructurePrompt(prompt.points + by, prompt.labels, box)

    prompts = {
        frame: {name: new for name, p in given.items() if _is_inside(new := shifted(p), film.size)}
        for frame, given in session.prompts.items()
    }
    layers = {
        name: {frame: (moved(packed), names) for frame, (packed, names) in layer.items()}
        for name, layer in session.layers.items()
    }
    return KeptSession.of(
        film, prompts=prompts, layers=layers, choices=session.choices, listed=session.listed
    )


def _is_inside(prompt: StructurePrompt, size: Sequence[int]) -> bool:
    corners = [] if prompt.box is None else prompt.box.reshape(2, 2)
    places = np.array([*prompt.points, *corners])
    return bool(((places >= -0.5) & (places <= np.array(size[::-1]) - 0.5)).all())
