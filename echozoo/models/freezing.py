"""Which parameters train, said by name patterns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        ConfigError: A pattern matches no parameter, or patterns name what an alias is in another
            size of the part (SAM ViT-B's global blocks in ViT-L): either would go unnoticed.
    """
    _refuse_other_sizes(model, frozen)
    _refuse_other_sizes(model, trainable)
    frozen, trainable = (_spelt_out(model, patterns) for patterns in (frozen, trainable))
    names = [name for name, _ in model.named_parameters()]
    for pattern in (*frozen, *trainable):
        if not _matching(names, [pattern]):
            parts = ", ".join(sorted({name.split(".")[0] for name in names}))
            raise ConfigError(
                f"the pattern {pattern!r} (frozen or trainable) matches no parameter of "
                f"{type(model).__name__}; its parts are {parts}"
            )
    held = _matching(names, frozen) - _matching(names, trainable)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in held)


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


def _refuse_other_sizes(model: nn.Module, patterns: Sequence[str]) -> None:
    names = [name for name, _ in model.named_parameters()]
    matched = [_matching(names, [pattern]) for pattern in patterns]
    elsewhere = (
        (part, f"{name}:{alias}", size, f"{name}.", theirs, part.aliases[alias])
        for name, part in model.named_children()
        for size, aliases in getattr(part, "aliases_elsewhere", {}).items()
        for alias, theirs in aliases.items()
    )
    for part, alias, size, prefix, theirs, ours in elsewhere:
        each = [_matching(names, [prefix + one]) for one in theirs]
        meant = set().union(*each)
        named = set().union(*(some for some in matched if some <= meant))
        if all(each) and named == meant != _matching(names, [prefix + one for one in ours]):
            raise ConfigError(
                f"the patterns for {', '.join(theirs)} (frozen or trainable) name {alias} of "
                f"{size}, wanted {', '.join(ours)} in this {type(part).__name__}; write {alias!r}"
            )


def _matching(names: Iterable[str], patterns: Sequence[str]) -> set[str]:
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def hold_frozen_statistics(model: nn.Module) -> None:
    """Put batch norms whose parameters are all frozen into evaluation mode.

    Otherwise a frozen network would still change: its running statistics follow the data.
    """
    for module in model.modules():
        frozen = not any(parameter.requires_grad for parameter in module.parameters())
        if isinstance(module, _BatchNorm) and module.affine and frozen:
            module.eval()
