"""The command that this process was started with, for what it leaves behind."""

from __future__ import annotations

import shlex
import sys

PROGRAM = "echozoo"


def command_line() -> str:
    """The command as a shell reads it: ``echozoo train samus_tra``, ``tools/train.py …``."""
    tool, *arguments = sys.argv
    words = tool.split(" ") if tool.startswith(f"{PROGRAM} ") else [tool]
    return shlex.join([*words, *arguments])
