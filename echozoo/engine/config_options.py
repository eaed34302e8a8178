"""Which keys a config may have, so that a misspelt option is an error and not a new key."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

from echozoo import registry
from echozoo.engine.option_kinds import wrong_kind
from echozoo.errors import ConfigError
from echozoo.registry import parameters_of

# What Runner.from_cfg and its helpers read from a config beside the Runner's own parameters.
RUNNER_KEYS = set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"} | {
    "activation_checkpointing",
    "compile",
    "custom_imports",
    "efficient_conv_bn_eval",
    "env_cfg",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "runner_type",
    "scale",
    "scales",
    "sync_bn",
}
# What mmengine takes from a part's config before the part's constructor sees it.
_PART_KEYS = {
    "_delete_",
    "_scope_",
    "constructor",
    "convert_to_iter_based",
    "init_cfg",
    "paramwise_cfg",
    "priority",
    "type",
}
_LOADER_KEYS = {"batch_sampler", "dataset", "num_batch_per_epoch", "worker_init_fn"}


def closest(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean X?" for the most similar of some names, "" where none is similar."""
    found = difflib.get_close_matches(name, sorted(names), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def registered(name: str, kind: Registry | None = None) -> list[type]:
    """Return the classes that a config may mean by a type name.

    Args:
        name: The value of ``type``.
        kind: The registry to look in; all of echozoo's where None.
    """
    kinds = [kind] if kind else [r for r in vars(registry).values() if isinstance(r, Registry)]
    found = [r.get(name) for r in kinds]
    return [part for part in found if inspect.isclass(part)]


def accepts(cfg: dict, key: str, kind: Registry) -> bool:
    """Tell whether a part's config has a key, or its class a parameter of that name."""
    if key in cfg or not isinstance(cfg.get("type"), str):
        return key in cfg
    return any(key in (parameters_of(part) or ()) for part in registered(cfg["type"], kind))


def _allowed(node: dict, path: str) -> set[str] | None:
    """Return every key that a dict of the config may have; None where nobody can tell."""
    if isinstance(node.get("type"), str):
        taken = [parameters_of(part) for part in registered(node["type"])]
        known = None if not taken or None in taken else set().union(*taken)
        return None if known is None else known | _PART_KEYS | set(node)
    if path == "":
        return RUNNER_KEYS | set(node)
    if path.endswith("_dataloader"):
        return parameters_of(DataLoader) | _LOADER_KEYS | set(node)
    loops = {"train_cfg": EpochBasedTrainLoop, "val_cfg": ValLoop, "test_cfg": TestLoop}
    if path == "train_cfg" and not node.get("by_epoch", True):
        return parameters_of(IterBasedTrainLoop) | _PART_KEYS | {"by_epoch"}
    if path in loops:
        return parameters_of(loops[path]) | _PART_KEYS | {"by_epoch"}
    return None


def check_options(root: dict, options: dict[str, Any], flag: str) -> None:
    """Refuse options that name nothing in a config, or are of the wrong kind for what they name.

    Args:
        root: The config, or a part of it, that the options are for.
        options: Values by dotted key.
        flag: What gave them on the command line, for the message.

    Raises:
        ConfigError: A key is unknown, and the message names the closest one; or a value is of
            another kind than the one that the config has, or than the part's parameter.
    """
    for full_key, value in options.items():
        _check_option(root, full_key.split("."), value, f"{flag} {full_key}: ")


def _check_option(root: dict, keys: list[str], value: Any, message: str) -> None:
    node: Any = root
    for depth, key in enumerate(keys):
        path = ".".join(keys[:depth])
        if isinstance(node, dict):
            if key not in node:
                _check_new_key(node, path, key, message)
            if depth == len(keys) - 1:
                _check_value(node, path, key, value, message)
            if key not in node:
                return  # what lies below a new key is new as well
            node = node[key]
        elif isinstance(node, (list, tuple)):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f"{message}{path} is a list of {len(node)}, found {key!r}")
            node = node[int(key)]
        else:
            raise ConfigError(f"{message}{path} is {node!r} and has no {key!r}")


def _check_value(node: dict, path: str, key: str, value: Any, message: str) -> None:
    owners = registered(node["type"]) if isinstance(node.get("type"), str) else []
    owners += [DataLoader] if path.endswith("_dataloader") else []
    wanted = wrong_kind(value, node.get(key), owners[0] if owners else None, key)
    if wanted:
        raise ConfigError(f"{message}found {value!r}, wanted {wanted}")


def _check_new_key(node: dict, path: str, key: str, message: str) -> None:
    allowed = _allowed(node, path)
    hint = closest(key, node)
    if allowed is None and not hint or allowed is not None and key in allowed:
        return
    hint = hint or closest(key, allowed or ())
    where = node.get("type") or path or "the config"
    raise ConfigError(f"{message}{where} has no {key!r}{hint}")


def check_top_level(cfg: Config, path: str) -> None:
    """Refuse a config with a variable that is all but a Runner's key: it would be ignored.

    Raises:
        ConfigError: A key is misspelt, or there is no ``model``.
    """
    for key in cfg:
        match = difflib.get_close_matches(key, sorted(RUNNER_KEYS), n=1, cutoff=0.9)
        if key not in RUNNER_KEYS and match and match[0] not in cfg:
            raise ConfigError(f"{path}: {key!r} means nothing; did you mean {match[0]}?")
    if "model" not in cfg:
        raise ConfigError(f"{path}: there is no `model` in it, so it is not a config to run")
