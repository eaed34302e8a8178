"""Errors that a user can act on, and how a command-line tool shows them.

A message is one line: the file, the value found, the value wanted, and what to do.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable


class EchoZooError(Exception):
    """What went wrong, in one line that says what to do about it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class DataError(EchoZooError):
    """A data set, an image, a mask or a split is not as it has to be."""


class CheckpointError(EchoZooError):
    """A weights file is absent, refused, or does not fit the model."""


class ConfigError(EchoZooError):
    """A config or an option on the command line asks for what cannot be."""


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

    Args:
        main: The tool's entry point; its return value is the exit status (None is 0).

    Returns:
        The entry point that exits the process.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            sys.exit(main() or 0)
        except EchoZooError as error:
            sys.exit(f"error: {error}")

    return run
