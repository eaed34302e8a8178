"""Errors that a user can act on, and how a command-line tool shows them.

A message is one line: the file, the value found, the value wanted, and what to do.
"""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# What else the system says of a file's place, not of the program.
_PLACE = (errno.EFBIG, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


class EchoZooError(Exception):
    """What went wrong, in one line that says what to do about it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class DataError(EchoZooError):
    """A data set, an image, a mask or a split is not as it has to be."""


class TooLargeError(DataError):
    """A film takes more than it may."""


class NoFilmError(DataError):
    """A file is whole, and shows something else than a B-mode film: it is left out, not failed."""


class StorageError(DataError):
    """A file cannot be written.

    Attributes:
        full: Whether nothing more can be written there: the disk is full or read-only.
    """

    def __init__(self, message: str, full: bool = False) -> None:
        super().__init__(message)
        self.full = full

    @classmethod
    def of(cls, path: object, error: OSError) -> StorageError:
        """Say which file, or which folder's, the system refuses."""
        full = error.errno in _FULL
        return cls(f"{path}: cannot be written ({error.strerror or error})", full)


class CheckpointError(EchoZooError):
    """A weights file is absent, refused, or does not fit the model."""


class ConfigError(EchoZooError):
    """A config or an option on the command line asks for what cannot be."""


class TrainingError(EchoZooError):
    """A training has come to where it cannot go on."""


def one_line(text: str) -> str:
    r"""Escape what would break a line or a terminal: names of files may hold anything.

    Args:
        text: A message; line feeds, other control characters and bytes that are no UTF-8 (which
            Python keeps as lone surrogates) become ``\n``, ``\x1b``, ``\udcff``.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )


def one_line_errors(main: Callable[[], int | None]) -> Callable[[], None]:
    """Make a tool's ``main`` end in ``error: <one line>`` and exit status 1 on an `EchoZooError`.

    So it does where the disk is full, or a file's place cannot be what it has to be.

    Args:
        main: The tool's entry point; its return value is the exit status (None is 0).

    Returns:
        The entry point that exits the process.
    """

    @functools.wraps(main)
    def run() -> None:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a name that is no UTF-8 is shown, not raised
                stream.reconfigure(errors="backslashreplace")
        try:
            sys.exit(main() or 0)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        except EchoZooError as error:
            sys.exit(f"error: {one_line(error)}")
        except OSError as error:
            if error.errno in _FULL:
                refused = StorageError.of(error.filename or "a file", error)
                sys.exit(f"error: {refused}; make room there, then run the same command again")
            if error.errno not in _PLACE or not error.filename:
                raise
            sys.exit(f"error: {one_line(f'{error.filename}: {error.strerror}')}")

    return run
