"""Decoded volumes on disk, memory-mapped: decompression happens once, not once an epoch.

An entry is one file: a line of JSON (shape, spacing, checksum, and the sizes and times of the
files it was made from), then the pixels. It is written under a name of its own and moved into
place whole, so several processes may build the same entry at once and none reads half of one.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import uuid
import zlib
from pathlib import Path

import numpy as np

from echozoo.datasets.integrity import source_files
from echozoo.datasets.io import Volume, read_volume
from echozoo.datasets.notices import notice

_FORMAT = 1
_ALIGN = 64

# Entries whose checksum this process has compared: (path, time, size).
_verified: set[tuple[Path, int, int]] = set()


def resolve_cache_dir(data_root: str | Path, cache_dir: str | Path | None = None) -> Path:
    """Choose the folder for decoded volumes.

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
    """Read a volume through the cache.

    Args:
        path: As in `read_volume`.
        cache_dir: Folder of the cache; made where absent.
        label: As in `read_volume`.

    Returns:
        The volume; its array (T, H, W) uint8 is a read-only memory map, or a plain read-only
        array where the cache could not be written (which is said once).

    Raises:
        DataError: As `read_volume`.
    """
    path, cache_dir = Path(path), Path(cache_dir)
    entry = _entry_path(path.absolute(), cache_dir.absolute())
    stamp = _stamp(path, label)
    volume = _read_entry(entry, stamp)
    if volume is None:
        decoded = read_volume(path, label)
        try:
            _write_entry(entry, decoded, stamp)
        except OSError as error:
            notice(f"{cache_dir}: no cache ({error.strerror}); volumes are decoded at every read")
        volume = _read_entry(entry, stamp)
        if volume is None:
            decoded.array.setflags(write=False)
            volume = decoded
    return volume


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
def _entry_path(path: Path, cache_dir: Path) -> Path:
    # Relative, so that a cache beside its data serves wherever both are mounted.
    place = os.path.relpath(path.resolve(), cache_dir.resolve())
    return cache_dir / f"{path.name}-{hashlib.sha256(place.encode()).hexdigest()[:12]}.cache"


def _stamp(path: Path, label: bool) -> list:
    states = [file.stat() for file in source_files(path)]
    return [_FORMAT, label, *([state.st_mtime_ns, state.st_size] for state in states)]


def _read_entry(entry: Path, stamp: list) -> Volume | None:
    """The entry as a memory map; None where it is absent, outdated or damaged."""
    try:
        with entry.open("rb") as file:
            line = file.readline()
            state = os.fstat(file.fileno())
            header = json.loads(line)
            shape = tuple(header["shape"])
            if header["stamp"] != stamp or state.st_size != len(line) + int(np.prod(shape)):
                return None
            array = np.memmap(file, np.uint8, "r", offset=len(line), shape=shape)
        key = (entry, state.st_mtime_ns, state.st_size)
        if key not in _verified:
            if zlib.crc32(array) != header["crc32"]:
                return None
            _verified.add(key)
        dy, dx = header["spacing"]
        return Volume(array, (dy, dx))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_entry(entry: Path, volume: Volume, stamp: list) -> None:
    array = np.ascontiguousarray(volume.array)
    header = {
        "stamp": stamp,
        "shape": array.shape,
        "spacing": volume.spacing,
        "crc32": zlib.crc32(array),
    }
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
