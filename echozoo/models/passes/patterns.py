"""Which modules a pass is for, said by name patterns as those of `freeze`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from echozoo.errors import ConfigError


def modules_at(model: nn.Module, patterns: str | Sequence[str], who: str) -> dict[str, nn.Module]:
    """Find modules by their names.

    Args:
        model: Where to look.
        patterns: One or more, as the shell writes them (``backbone.blocks.*.attn.qkv``), matched
            against whole names.
        who: Who asks, for the error.

    Returns:
        Modules by name, in the model's order.

    Raises:
        ConfigError: A pattern matches no module: a misspelt one would go unnoticed.
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    modules = {name: module for name, module in model.named_modules() if name}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in modules):
            parts = ", ".join(name for name, _ in model.named_children())
            raise ConfigError(
                f"{who}: the pattern at={pattern!r} matches no module of {type(model).__name__}; "
                f"its parts are {parts}"
            )
    return {
        name: module
        for name, module in modules.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one of a (dotted) name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
