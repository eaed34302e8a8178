"""Decoded volumes, and what is made of them, on disk and memory-mapped: once, not once an epoch.

An entry is one file: a line of JSON (shape, spacing, checksum, and the sizes and times of the
files that it was made from), then the pixels. It is written under a name of its own and moved into
place whole, so several processes may build the same entry at once and none reads half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import math
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.films.apart import apart
from echozoo.films.film import NO_SPACING
from echozoo.films.headers import read_volume_header, source_files
from echozoo.films.io import Volume, read_noted
from echozoo.notices import notice

_FORMAT = 4
_ALIGN = 64

# Entries whose checksum this process has compared: (path, time, size).
_verified: set[tuple[Path, int, int]] = set()
# What this process has said of films, the numbers in it left out.
_noted: set[str] = set()


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


def cached_volume(
    path: str | Path,
    cache_dir: str | Path,
    label: bool = False,
    image: str | Path | None = None,
) -> Volume:
    """Read all of a film, or of its label maps, through the cache.

    What a user should know of a file is said when it is decoded, once for all files of which the
    same is to be said.

    Args:
        path: A file of any kind that `open_film` reads.
        cache_dir: Folder of the cache; made where absent.
        label: Whether it holds labels.
        image: The image of the labels, on whose grid they are put, see `read_volume`.

    Returns:
        The volume; its array (T, H, W) uint8 is read-only, see `cached_array`. The spacing is
        None where the file does not say.

    Raises:
        DataError: As `read_volume`.
    """
    sources = (Path(path),) if image is None else (Path(path), Path(image))

    def decode() -> tuple[np.ndarray, dict]:
        volume = decoded_volume(path, label, image)
        return volume.array, {"spacing": volume.spacing}

    array, facts = cached_array(sources, Path(cache_dir), "label" if label else "image", decode)
    return Volume(array, facts["spacing"] and tuple(facts["spacing"]))


def decoded_volume(
    path: str | Path, label: bool = False, image: str | Path | None = None
) -> Volume:
    """As `cached_volume`, without a cache: decoded in the reading process."""
    volume, notes = apart(read_noted, path, label, image)
    _say(Path(path), notes)
    return volume


def cached_length(path: str | Path, cache_dir: str | Path) -> int:
    """Frames of a film, by its header where that can be believed, else by reading it once."""
    header = read_volume_header(Path(path))
    return header.shape[0] if header else len(cached_volume(path, cache_dir).array)


def _say(path: Path, notes: Iterable[str]) -> None:
    for note in notes:
        kind = re.sub(r"[\d.]+", "#", note.replace(str(path), ""))
        if kind not in _noted and note != NO_SPACING:
            _noted.add(kind)
            notice(note if str(path) in note else f"{path}: {note}")


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
    return [_FORMAT, *([state.st_mtime_ns, state.st_ctime_ns, state.st_size] for state in states)]


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
        _remove_abandoned(entry.parent)
        with unfinished.open("xb") as file:
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(line)
            file.write(array.data)
            file.flush()
            os.replace(unfinished, entry)
    finally:
        unfinished.unlink(missing_ok=True)


@functools.cache  # once a process
def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes have left unfinished: nobody holds a lock on it any more."""
    for path in folder.glob("*.tmp"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
