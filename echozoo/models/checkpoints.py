"""Weights to start from: published files, parts of them, and those of one's own runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models.passes.adapting import adapter_keys
from echozoo.models.weight_files import check_finite, read_weights, state_dict_of
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
        groups: How many of these there are of each group, see `groups_of`.
    """

    source: str
    loaded: tuple[str, ...]
    left: tuple[str, ...]
    groups: Mapping[str, int]

    def __str__(self) -> str:
        """One line for the log."""
        line = f"{self.source}: {len(self.loaded)} tensors loaded"
        if self.groups:
            left = ", ".join(f"{group} ({count})" for group, count in self.groups.items())
            line += f"; left as initialised: {left}"
        return line


def load_published(
    model: nn.Module,
    source: str | Path | Mapping[str, Tensor],
    parts: Sequence[str] | None = None,
    without: Sequence[str] = (),
) -> LoadReport:
    """Load published weights into a segmentor, or this project's own.

    A file has keys as in the model, or as the model's parts say in ``published`` (see
    `echozoo.models.contracts.KeyMap`); sizes are fitted where a part can do that. What belongs
    together (a part, what SAMUS adds to SAM, an adapter everywhere) a file has all of, or nothing:
    then it stays as it is, as do the CNN branch where SAM starts SAMUS, or the decode head where
    ImageNet's weights start a backbone. Anything else that does not match is an error.

    Args:
        model: A segmentor; its parts are its children.
        source: A weights file, or a state dict.
        parts: Names of the model's parts to load, or of parts of these, such as
            ``("backbone", "prompt_head.encoder")``; what else is in the file is not looked at.
            None loads all that is in the file.
        without: Patterns, as the shell writes them, of keys in the model that stay as they are all
            the same.

    Returns:
        Which keys were loaded and which left.

    Raises:
        CheckpointError: The file cannot be read, its numbers are not finite, or keys are missing,
            unexpected or misshapen; the model is unchanged then.
        ConfigError: The model has no such part, or no such key is loaded.
    """
    if isinstance(source, Mapping):
        name, weights = "the given weights", state_dict_of(source, "the given weights")
    else:
        name, weights = str(source), read_weights(source)
    fitted = _fitted(model, weights, name, parts)
    for pattern in without:
        dropped = [key for key in fitted if fnmatchcase(key, pattern)]
        if not dropped:
            raise ConfigError(
                f"pretrained: found without={pattern!r}, wanted a pattern of keys that are loaded, "
                f"such as {next(iter(fitted))}"
            )
        fitted = {key: value for key, value in fitted.items() if key not in dropped}
    check_finite(fitted, model, name)
    model.load_state_dict(fitted, strict=False)
    left = tuple(key for key in model.state_dict() if key not in fitted)
    groups = Counter(map(groups_of(model), left))
    return LoadReport(name, tuple(fitted), left, groups)


def initialise(model: nn.Module, pretrained: str | Path | Mapping) -> LoadReport:
    """Give a model the weights that its config starts from, and log what was loaded.

    Args:
        model: See `load_published`.
        pretrained: The config's entry: a path, or ``dict(path=..., parts=("prompt_head",
            "decoder"))`` to start only some parts from the file, also ``without=`` some of their
            keys, see `load_published`. The path is that of a file, or a
            run's work folder, whose best checkpoint is taken, else its last.

    Returns:
        Which keys were loaded and which left.

    Raises:
        CheckpointError: As `load_published`; where the file is absent, the line says how to get it
            or to do without.
        ConfigError: The entry is not of this form.
    """
    entry = dict(pretrained) if isinstance(pretrained, Mapping) else {"path": pretrained}
    if "path" not in entry or set(entry) - {"path", "parts", "without"}:
        raise ConfigError(
            f"pretrained: found the keys {', '.join(map(str, entry)) or 'none'}, wanted a path, or "
            "dict(path=..., parts=..., without=...)"
        )
    path = Path(entry["path"]).expanduser()
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such file: {how_to_get(path)}, or start from scratch with --from-scratch"
        )
    if path.is_dir():
        path = checkpoint_file(path, best=True)
    report = load_published(model, path, entry.get("parts"), entry.get("without", ()))
    print_log(str(report), logger="current")
    return report


def own_keys(model: nn.Module, keys: Iterable[str]) -> dict[str, str | None]:
    """Rename the keys of a file as the model's parts say.

    Args:
        model: The model.
        keys: As in the file, such as ``image_encoder.blocks.2.Space_Adapter.q.weight``.

    Returns:
        The model's for each, such as ``backbone.blocks.2.cross_attn.q.weight``; None where the
        weights have no effect in it, and the key itself where no part claims it.
    """
    wanted = model.state_dict()
    layouts = [
        (f"{name}.", layout)
        for name, part in model.named_children()
        for layout in getattr(part, "published", ())
    ]

    inside = _claims_inside(model)

    def own(key: str) -> str | None:
        key = of_part(key)
        if key is None or key in wanted:
            return key
        for theirs, ours in inside:
            if theirs.match(key):
                return theirs.sub(ours, key, count=1)
        return key

    def of_part(key: str) -> str | None:
        for part, layout in layouts:
            for theirs, ours in layout.claims.items():
                if re.match(theirs, key):
                    if ours is None:
                        return None
                    key = re.sub(theirs, ours, key, count=1)
                    for old, new in layout.renames.items():
                        key = key.replace(old, new)
                    return part + key
        return key

    return {key: key if key in wanted else own(key) for key in keys}


def _claims_inside(model: nn.Module) -> list[tuple[re.Pattern, str]]:
    """What files call the weights of adapters and inserts, by which places they are at.

    Those say it themselves: ``published_at(name, index)``, their name in the model and their number
    among those of their class, gives what keys begin with (a regular expression, matched when the
    parts have renamed them) and what stands for it in the module.
    """
    claims, numbers = [], Counter()
    for name, module in model.named_modules():
        if hasattr(module, "published_at"):
            for theirs, ours in module.published_at(name, numbers[type(module)]).items():
                claims.append((re.compile(theirs), f"{name}.{ours}"))
            numbers[type(module)] += 1
    return claims


def groups_of(model: nn.Module) -> Callable[[str], str]:
    """Say what belongs together: a file has the whole of a group, or nothing of it.

    Returns:
        A function from a key in the model's terms to the name of its group: of a `KeyMap` that
        holds it, of an adapter, else the part's, for what is beside a part's maps with the name
        of the module.
    """
    adapters = adapter_keys(model)
    parts = dict(model.named_children())

    def group(key: str) -> str:
        part, _, rest = key.partition(".")
        layouts = getattr(parts.get(part), "published", ())
        if key in adapters or not layouts:
            return adapters.get(key, part)
        for layout in layouts:
            if re.fullmatch(layout.holds, rest):
                return layout.name or part
        inner = (name for name in rest.split(".") if not name.isdigit() and name != "blocks")
        return f"{part}.{next(inner)}"

    return group


def _fitted(
    model: nn.Module, weights: Mapping[str, Tensor], name: str, parts: Sequence[str] | None
) -> dict[str, Tensor]:
    """The weights under the model's keys, fitted to its sizes, and nothing else."""
    file_keys = {own: key for key, own in own_keys(model, weights).items() if own is not None}
    weights = _with_counters({own: weights[key] for own, key in file_keys.items()})
    wanted = model.state_dict()
    if parts is not None:
        _check_parts(model, parts)
        weights, wanted = _only(weights, parts), _only(wanted, parts)
    for title, part in model.named_modules():
        if title and hasattr(part, "fit_published"):
            inside = {
                key.removeprefix(f"{title}."): weights.pop(key) for key in _only(weights, [title])
            }
            weights |= {f"{title}.{key}": v for key, v in part.fit_published(inside).items()}
    if parts is not None:  # of a part asked for, another may have been made
        weights = _only(weights, parts)
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


def _with_counters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give batch norms their counters of batches, which files of old versions of torch lack."""
    means = [key for key in weights if key.endswith(".running_mean")]
    counters = [f"{key.removesuffix('running_mean')}num_batches_tracked" for key in means]
    return weights | {key: torch.tensor(0) for key in counters if key not in weights}


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
    """Keys that a file must have: the whole of each group of which it has any."""
    group, wanted = groups_of(model), model.state_dict()
    present = {group(key) for key in weights}
    if parts is None:
        return [key for key in wanted if group(key) in present]
    # What is asked for by name and not there at all is missing, too.
    absent = _only(wanted, [part for part in parts if not _only(weights, (part,))])
    return [key for key in _only(wanted, parts) if group(key) in present or key in absent]


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
