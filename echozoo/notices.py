"""Warnings that are said once a process, in the log of the run."""

from __future__ import annotations

import logging

from mmengine.logging import print_log

_said: set[str] = set()


def notice(message: str) -> None:
    """Log a one-line warning, unless this process has logged the same one before."""
    if message not in _said:
        _said.add(message)
        print_log(message, logger="current", level=logging.WARNING)
