"""Weights to start from: published files, parts of them, and those of one's own runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.passes.adapting import adapter_keys
from echozoo.models.published_keys import (
    add_counters,
    fit_position_tables,
    group_of,
    is_efficient_net,
    is_resnet,
    own_keys,
)
from echozoo.models.weight_files import read_weights, state_dict_of
from echozoo.published_files import how_to_get
from echozoo.run_folder import checkpoint_file

_SHOWN_KEYS = 4


@dataclass(frozen=True)
class LoadReport:
    """What loading did.

    Attributes:
        source: The file, or what stands for it.
        loaded: Keys of the model that were set.
        left: Keys of the model that stay as they were initialised.
    """

    source: str
    loaded: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        """One line for the log."""
        line = f"{self.source}: {len(self.loaded)} tensors loaded"
        groups = Counter(group_of(key) for key in self.left)
        if groups:
            left = ", ".join(f"{group} ({count})" for group, count in groups.items())
            line += f"; left as initialised: {left}"
        return line


def load_published(
    model: nn.Module,
    source: str | Path | Mapping[str, Tensor],
    parts: Sequence[str] | None = None,
) -> LoadReport:
    """Load published weights into a segmentor, or this project's own.

    Files of SAM (ViT-B, L, H, or its prompt encoder and mask decoder alone), of LiteMedSAM, SAMUS
    and AutoSAMUS are taken under their own key names. Position tables are resized to the model's.
    What a file of that kind has no weights for (the CNN branch where SAM starts SAMUS, temporal
    modules where SAMUS starts a model of films, the APG where it starts AutoSAMUS) stays as it
    is; anything else that does not match is an error. A file of a ResNet of torchvision or of an
    EfficientNet-Lite is the backbone of a model, all of it; its classifier is left out.

    Args:
        model: A segmentor. Of the SAM family: with ``backbone``, ``prompt_head`` and ``decoder``.
        source: A weights file, or a state dict; keys as published, or as in ``model``.
        parts: Names of the model's parts to load, or of parts of these, such as
            ``("backbone", "prompt_head.encoder")``; what else is in the file is not looked at.
            None loads all that is in the file.

    Returns:
        Which keys were loaded and which left.

    Raises:
        CheckpointError: The file cannot be read, or keys are missing, unexpected or misshapen; the
            model is unchanged then.
        ConfigError: The model has no such part.
    """
    if isinstance(source, Mapping):
        name, weights = "the given weights", state_dict_of(source, "the given weights")
    else:
        name, weights = str(source), read_weights(source)
    fitted = _fitted(model, weights, name, parts)
    model.load_state_dict(fitted, strict=False)
    left = tuple(key for key in model.state_dict() if key not in fitted)
    return LoadReport(name, tuple(fitted), left)


def initialise(model: nn.Module, pretrained: str | Path | Mapping) -> LoadReport:
    """Give a model the weights that its config starts from, and log what was loaded.

    Args:
        model: See `load_published`.
        pretrained: The config's entry: a path, or ``dict(path=..., parts=("prompt_head",
            "decoder"))`` to start only some parts from the file. The path is that of a file, or a
            run's work folder, whose best checkpoint is taken, else its last.

    Returns:
        Which keys were loaded and which left.

    Raises:
        CheckpointError: As `load_published`; where the file is absent, the line says how to get it
            or to do without.
        ConfigError: The entry is not of this form.
    """
    entry = dict(pretrained) if isinstance(pretrained, Mapping) else {"path": pretrained}
    if "path" not in entry or set(entry) - {"path", "parts"}:
        raise ConfigError(
            f"pretrained: found the keys {', '.join(map(str, entry)) or 'none'}, wanted a path, or "
            "dict(path=..., parts=...)"
        )
    path = Path(entry["path"]).expanduser()
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such file: {how_to_get(path)}, or start from scratch with --from-scratch"
        )
    if path.is_dir():
        path = checkpoint_file(path, best=True)
    report = load_published(model, path, entry.get("parts"))
    print_log(str(report), logger="current")
    return report


def _fitted(
    model: nn.Module, weights: Mapping[str, Tensor], name: str, parts: Sequence[str] | None
) -> dict[str, Tensor]:
    """The weights under the model's keys, with position tables of its sizes, and nothing else."""
    if parts is not None:
        _check_parts(model, parts)
    elif is_resnet(weights) or is_efficient_net(weights):
        parts = ("backbone",)
    file_keys = own_keys(weights)
    weights = add_counters({own: weights[key] for own, key in file_keys.items()})
    wanted = model.state_dict()
    if parts is not None:
        weights, wanted = _only(weights, parts), _only(wanted, parts)
    weights = fit_position_tables(weights, model)
    misfits = {
        "missing": [key for key in _required(weights, model, parts) if key not in weights],
        "unexpected": [file_keys.get(key, key) for key in weights if key not in wanted],
        "misshapen": [
            f"{key} {tuple(value.shape)}, wanted {tuple(wanted[key].shape)}"
            for key, value in weights.items()
            if key in wanted and value.shape != wanted[key].shape
        ],
    }
    _refuse_misfits(name, type(model).__name__, misfits)
    return weights


def _check_parts(model: nn.Module, parts: Sequence[str]) -> None:
    state = model.state_dict()
    absent = [part for part in parts if not _only(state, (part,))]
    if isinstance(parts, str) or absent or not parts:
        have = dict.fromkeys(key.split(".")[0] for key in state)
        raise ConfigError(
            f"pretrained: found parts={parts!r}, wanted names of the model's parts "
            f"({', '.join(have)}) or of parts of these, in a tuple"
        )


def _only(weights: Mapping[str, Tensor], parts: Sequence[str]) -> dict[str, Tensor]:
    inside = tuple(f"{part}." for part in parts)
    return {key: value for key, value in weights.items() if f"{key}.".startswith(inside)}


def _required(
    weights: Mapping[str, Tensor], model: nn.Module, parts: Sequence[str] | None
) -> list[str]:
    """Keys that a file of this kind must have: the whole of each group of which it has any.

    Of each part that is asked for by name it must have some; and all of everything where the
    model is not of the SAM family, for which only its own weights will do.
    """
    wanted = model.state_dict()
    own = adapter_keys(model)
    if own.isdisjoint(weights):  # a file of the model without adapters
        wanted = {key: value for key, value in wanted.items() if key not in own}
    groups = {group_of(key) for key in wanted}
    if "backbone" in groups:
        groups = {group_of(key) for key in weights} | {"prompt_head", "decoder"}
    if parts is None:
        return [key for key in wanted if group_of(key) in groups]
    absent = [part for part in parts if not _only(weights, (part,))]
    without = _only(wanted, absent)
    return [key for key in _only(wanted, parts) if group_of(key) in groups or key in without]


def _refuse_misfits(name: str, model_name: str, misfits: Mapping[str, list[str]]) -> None:
    lists = [f"{len(keys)} {kind} ({_shortened(keys)})" for kind, keys in misfits.items() if keys]
    if lists:
        raise CheckpointError(
            f"{name}: does not fit {model_name}: {'; '.join(lists)}: give weights of this model, "
            "or name the parts to load (pretrained=dict(path=..., parts=...))"
        )


def _shortened(keys: list[str]) -> str:
    more = len(keys) - _SHOWN_KEYS
    return ", ".join(keys[:_SHOWN_KEYS]) + (f", and {more} more" if more > 0 else "")
