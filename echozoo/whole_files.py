"""Files that are whole at every moment, whatever ends the process or fills the disk."""

from __future__ import annotations

import contextlib
import os
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".part"
"""Ends the names of files that are being written; such a name begins with a dot."""


@contextlib.contextmanager
def written_whole(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """Let a file be written beside its place; it is synced and put there in the end.

    A reader sees the old file or the new one, and so does a machine that loses its power. After
    an error nothing is left; after a kill the part is, until `remove_parts`.

    Args:
        path: The file to write or replace.
        sync: False for what has a checksum and can be made again: the disk is not waited for.

    Yields:
        The name to write to.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{SUFFIX}")
    try:
        yield part
        if sync:
            _sync(part)
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    if sync:
        with contextlib.suppress(OSError):  # the new name; some file systems sync no folders
            _sync(path.parent)


def remove_parts(folder: str | Path) -> None:
    """Remove what processes that were killed have left half written."""
    for part in Path(folder).glob(f".*{SUFFIX}"):
        part.unlink(missing_ok=True)


def damage(path: str | Path) -> str:
    """Compare a ``.pth`` file, which is a zip archive, with the checksums in it.

    torch reads past them, so that a flipped bit is another weight.

    Returns:
        What is wrong, or "" for a file that is whole or has no checksums: torch writes zeros for
        all of them where it is told not to compute them (``set_crc32_options``), and its files of
        before 1.6 are no archives.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(entry.CRC for entry in archive.infolist()):
                return ""
            bad = archive.testzip()
            return f"the checksum of {ascii(bad)} is another" if bad else ""
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        with open(path, "rb") as file:
            archive_begins = file.read(4) == b"PK\x03\x04"
        return f"cut off, or no archive inside ({error})" if archive_begins else ""


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
