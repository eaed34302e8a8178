"""Decoded volumes, and what is made of them, on disk and memory-mapped: once, not once an epoch.

An entry is one file: a line of JSON (shape, spacing, checksum, and the sizes and times of the
files that it was made from), then the pixels. It is written under a name of its own and moved into
place whole, so several processes may build the same entry at once and none reads half of one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.errors import DataError
from echozoo.films.film import open_film
from echozoo.films.integrity import source_files
from echozoo.films.io import IMAGE_SUFFIXES, Volume, read_shape, read_volume
from echozoo.films.readers.source import COLOUR_NOTE, DEPTH_NOTE
from echozoo.notices import notice

_FORMAT = 2
_ALIGN = 64

# Entries whose checksum this process has compared: (path, time, size).
_verified: set[tuple[Path, int, int]] = set()


def resolve_cache_dir(data_root: str | Path, cache_dir: str | Path | None = None) -> Path:
    """Choose the folder of the cache.

    In this order: the one told; the environment's ECHOZOO_CACHE; ``.echozoo_cache`` in the data
    folder; and where that cannot be written, a folder of its own in the user's cache directory,
    which is said once.

    Args:
        data_root: The data folder.
        cache_dir: The folder told by the user, or None.

    Returns:
        The folder. One that was told may turn out not to be writable: then its entries are used
        and what it lacks is decoded at every read.
    """
    told = cache_dir or os.environ.get("ECHOZOO_CACHE")
    if told:
        return Path(told).expanduser()
    beside = Path(data_root) / ".echozoo_cache"
    if _is_writable(beside):
        return beside
    digest = hashlib.sha256(str(Path(data_root).resolve()).encode()).hexdigest()[:12]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    fallback = home / "echozoo" / digest
    notice(f"{data_root} cannot be written: decoded volumes are kept in {fallback}")
    return fallback


def cached_volume(path: str | Path, cache_dir: str | Path, label: bool = False) -> Volume:
    """Read all of a film, or of its label maps, through the cache.

    Args:
        path: A file of any kind that `open_film` reads.
        cache_dir: Folder of the cache; made where absent.
        label: As in `read_volume`.

    Returns:
        The volume; its array (T, H, W) uint8 is read-only, see `cached_array`. The spacing is
        None where the file does not say.

    Raises:
        DataError: As `read_volume` for NIfTI and .mhd, as `open_film` for the others; or labels
            that reading would change: in colour, of a palette, of 16 bits.
    """

    def decode() -> tuple[np.ndarray, dict]:
        volume = _read(path, label)
        return volume.array, {"spacing": volume.spacing}

    array, facts = cached_array(
        (Path(path),), Path(cache_dir), "label" if label else "image", decode
    )
    return Volume(array, facts["spacing"] and tuple(facts["spacing"]))


def _read(path: str | Path, label: bool) -> Volume:
    if str(path).endswith(IMAGE_SUFFIXES):
        return read_volume(path, label)
    film = open_film(path)
    # Grey levels of an image may be converted, labels may not.
    changed = {COLOUR_NOTE, DEPTH_NOTE} & set(film.notes)
    if label and changed:
        raise DataError(
            f"{path}: labels in colour, of a palette or of 16 bits ({', '.join(changed)}), wanted "
            "8-bit grey levels that are the labels themselves; convert the mask"
        )
    return Volume(film.frames(), film.spacing)


def cached_length(path: str | Path, cache_dir: str | Path) -> int:
    """Frames of a film, by its header where that can be believed, else by reading it once."""
    if str(path).endswith(IMAGE_SUFFIXES):
        return read_shape(path)[0]
    return len(cached_volume(path, cache_dir).array)


def cached_array(
    sources: tuple[Path, ...],
    cache_dir: Path,
    kind: str,
    make: Callable[[], tuple[np.ndarray, dict[str, Any]]],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read what follows from some volumes on disk through the cache.

    Args:
        sources: The volumes' files. Where one has changed since, the entry is made again.
        cache_dir: Folder of the cache; made where absent.
        kind: What is made of them, in a word that tells it from all else made of them.
        make: Makes the array, uint8, and facts about it that JSON can hold.

    Returns:
        The array, a read-only memory map, or a plain read-only array where the cache could not be
        written (which is said once); and the facts, with lists for tuples.

    Raises:
        DataError: A source is absent or empty, or as ``make`` raises it.
    """
    entry = _entry_path(sources, cache_dir, kind, Path.cwd())
    stamp = _stamp(sources)
    found = _read_entry(entry, stamp)
    if found is None:
        array, facts = make()
        try:
            _write_entry(entry, array, facts, stamp)
        except OSError as error:
            notice(f"{cache_dir}: no cache ({error.strerror}); volumes are decoded at every read")
        found = _read_entry(entry, stamp)
        if found is None:
            array.setflags(write=False)
            found = array, facts
    return found


def _is_writable(folder: Path) -> bool:
    probe = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


@functools.cache  # resolving asks for the state of every folder on the way
def _entry_path(sources: tuple[Path, ...], cache_dir: Path, kind: str, here: Path) -> Path:
    # Relative, so that a cache beside its data serves wherever both are mounted.
    base = (here / cache_dir).resolve()
    places = [os.path.relpath((here / source).resolve(), base) for source in sources]
    digest = hashlib.sha256("\n".join(places).encode()).hexdigest()[:12]
    return cache_dir / f"{sources[0].name}-{kind}-{digest}.cache"


def _stamp(sources: tuple[Path, ...]) -> list:
    states = [file.stat() for source in sources for file in source_files(source)]
    return [_FORMAT, *([state.st_mtime_ns, state.st_size] for state in states)]


def _read_entry(entry: Path, stamp: list) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The entry as a memory map; None where it is absent, outdated or damaged."""
    try:
        with entry.open("rb") as file:
            line = file.readline()
            state = os.fstat(file.fileno())
            header = json.loads(line)
            shape = tuple(header["shape"])
            if header["stamp"] != stamp or state.st_size != len(line) + math.prod(shape):
                return None
            array = np.memmap(file, np.uint8, "r", offset=len(line), shape=shape)
        key = (entry, state.st_mtime_ns, state.st_size)
        if key not in _verified:
            if zlib.crc32(array) != header["crc32"]:
                return None
            _verified.add(key)
        return array, header
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_entry(entry: Path, array: np.ndarray, facts: dict[str, Any], stamp: list) -> None:
    array = np.ascontiguousarray(array)
    header = {"stamp": stamp, "shape": array.shape, **facts, "crc32": zlib.crc32(array)}
    line = json.dumps(header).encode()
    line += b" " * (-(len(line) + 1) % _ALIGN) + b"\n"
    unfinished = entry.with_name(f"{entry.name}.{uuid.uuid4().hex}.tmp")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as file:
            file.write(line)
            file.write(array.data)
        os.replace(unfinished, entry)
    finally:
        unfinished.unlink(missing_ok=True)
