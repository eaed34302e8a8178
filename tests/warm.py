"""Processes forked from one that has imported everything, so that they start at once.

The tests' own process cannot be forked: torch has had threads in it.
"""

from __future__ import annotations

import multiprocessing
import pkgutil
from importlib import import_module
from multiprocessing.context import ForkServerContext

_PARTS = ("apis", "cli", "datasets", "engine", "evaluation", "models", "phantom", "postprocessing")


def warm_context() -> ForkServerContext:
    """The context of such processes; what they compute, they compute with one thread."""
    files = [
        file.name
        for part in _PARTS
        for file in pkgutil.walk_packages(
            import_module(f"echozoo.{part}").__path__, f"echozoo.{part}."
        )
    ]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mmengine.runner", "mmseg.models", *files])
    return context
