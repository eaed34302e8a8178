"""Warnings that are said once a process, in the log of the run."""

from __future__ import annotations

import logging
import sys

from mmengine.logging import MMLogger, print_log

_said: set[str] = set()


def notice(message: str) -> None:
    """Log a one-line warning, unless this process has logged the same one before."""
    if message not in _said:
        _said.add(message)
        print_log(message, logger="current", level=logging.WARNING)


def log_to_stderr() -> None:
    """Show this process's log on stderr: stdout is for what a tool was asked for."""
    for handler in MMLogger.get_current_instance().handlers:
        if type(handler) is logging.StreamHandler:
            handler.stream = sys.stderr  # setStream would flush the old one, which may be closed
