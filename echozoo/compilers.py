"""What torch.compile needs from the machine."""

from __future__ import annotations

import os
import shutil
import sys

import torch

from echozoo.errors import ConfigError

_COMPILERS = {"darwin": "clang++", "win32": "cl"}


def refuse_without_compiler(device: torch.device) -> None:
    """Check that torch.compile can make code for a device.

    Raises:
        ConfigError: It is a CPU, and there is no C++ compiler.
    """
    compiler = os.environ.get("CXX") or _COMPILERS.get(sys.platform, "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ConfigError(
            f"compile: no C++ compiler {compiler!r} found, which torch.compile needs on the"
            " CPU: install one, name it in CXX, or leave compile out"
        )
