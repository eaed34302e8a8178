"""Errors that a user can act on, and how a command-line tool shows them.

A message is one line: the file, the value found, the value wanted, and what to do.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable


class EchoZooError(Exception):
    """What went wrong, in one line that says what to do about it."""


class DataError(EchoZooError):
    """A data set, an image, a mask or a split is not as it has to be."""


class CheckpointError(EchoZooError):
    """A weights file is absent, refused, or does not fit the model."""


class ConfigError(EchoZooError):
    """A config or an option on the command line asks for what cannot be."""


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
