"""Which parameters train, said by name patterns."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from echozoo.errors import ConfigError


def freeze(model: nn.Module, frozen: Sequence[str], trainable: Sequence[str] = ()) -> None:
    """Freeze the parameters whose names match a pattern.

    Args:
        model: The model to freeze in.
        frozen: Patterns as the shell writes them (``backbone.*``), matched against whole
            parameter names. ``backbone:global_positions`` stands for the patterns that the part
            ``backbone`` lists as such in its ``aliases``, whatever its size.
        trainable: Exceptions: what matches one of these trains, whatever ``frozen`` says.

    Raises:
        ConfigError: A pattern matches no parameter: a misspelt one would go unnoticed.
    """
    frozen, trainable = (_spelt_out(model, patterns) for patterns in (frozen, trainable))
    names = [name for name, _ in model.named_parameters()]
    for pattern in (*frozen, *trainable):
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = ", ".join(sorted({name.split(".")[0] for name in names}))
            raise ConfigError(
                f"the pattern {pattern!r} (frozen or trainable) matches no parameter of "
                f"{type(model).__name__}; its parts are {parts}"
            )
    for name, parameter in model.named_parameters():
        is_frozen = any(fnmatchcase(name, pattern) for pattern in frozen)
        is_exempt = any(fnmatchcase(name, pattern) for pattern in trainable)
        parameter.requires_grad_(not is_frozen or is_exempt)


def _spelt_out(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    spelt = []
    for pattern in patterns:
        part, _, alias = pattern.partition(":")
        aliases = getattr(getattr(model, part, None), "aliases", {}) if alias else {}
        if alias and alias not in aliases:
            raise ConfigError(
                f"the pattern {pattern!r} (frozen or trainable): {part} has no parameters of that "
                f"name; it has {', '.join(aliases) or 'none'}"
            )
        spelt += [f"{part}.{one}" for one in aliases[alias]] if alias else [pattern]
    return spelt


def hold_frozen_statistics(model: nn.Module) -> None:
    """Put batch norms whose parameters are all frozen into evaluation mode.

    Otherwise a frozen network would still change: its running statistics follow the data.
    """
    for module in model.modules():
        frozen = not any(parameter.requires_grad for parameter in module.parameters())
        if isinstance(module, _BatchNorm) and module.affine and frozen:
            module.eval()
