"""Whether weights fit a model, found out before a run has written anything."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from echozoo.engine.safe_checkpoints import load_from_file
from echozoo.errors import CheckpointError, EchoZooError
from echozoo.models.checkpoints import LoadReport, load_published
from echozoo.models.weight_files import check_finite
from echozoo.registry import MODELS

_KEYS_SHOWN = 4


def load_exactly(model: nn.Module, weights: Mapping[str, Tensor], filename: str) -> None:
    """Give a model the weights of a run's checkpoint: all of them, and no others.

    Raises:
        CheckpointError: They do not fit, or are not finite; the model is unchanged then.
    """
    wanted = model.state_dict()
    misshapen = [k for k in wanted if k in weights and weights[k].shape != wanted[k].shape]
    problems = {
        "missing": [k for k in wanted if k not in weights],
        "unexpected": [k for k in weights if k not in wanted],
        "misshapen": misshapen,
    }
    if any(problems.values()):
        parts = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in problems.items() if keys]
        raise CheckpointError(
            f"{filename}: does not fit {type(model).__name__}: {', '.join(parts)}; "
            "give the config that the checkpoint was trained with"
        )
    check_finite(weights, model, filename)
    model.load_state_dict(weights)


def refuse_gaps(report: LoadReport) -> None:
    """Refuse to test a model some of whose weights are random.

    Raises:
        CheckpointError: Some are left.
    """
    if report.left:
        raise CheckpointError(
            f"{report}; a test of random weights means nothing: give the weights of the whole "
            "model, or a config that the file is complete for"
        )


def check_fit(cfg: Config) -> None:
    """Load the weights that a config is to be run with into a model that is thrown away.

    Raises:
        CheckpointError: They are damaged or do not fit. Of a run's checkpoint the line says with
            what the run was trained.
    """
    path = Path(cfg.load_from)
    checkpoint = load_from_file(path, "cpu")
    model = _thrown_away(cfg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nothing is copied to tensors without memory
            if "meta" in checkpoint:
                load_exactly(model, checkpoint["state_dict"], str(path))
            else:
                refuse_gaps(load_published(model, path))
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_trained_with(checkpoint, path.parent, cfg)}") from error


def _thrown_away(cfg: Config) -> nn.Module:
    """Build the model without memory for its numbers, where its constructor allows it."""
    content = {**cfg.model, "_scope_": cfg.get("default_scope") or "echozoo"}
    try:
        with torch.device("meta"):
            return MODELS.build(content)
    except EchoZooError:
        raise
    except Exception:  # it reads numbers, such as those of a table it has made
        return MODELS.build(content)


def _trained_with(checkpoint: dict[str, Any], run: Path, cfg: Config) -> str:
    """Say what differs between a run's own config and this one; "" where that is not known."""
    meta = checkpoint.get("meta") or {}
    # Earlier versions wrote CONFIG-PROCESS-NUMBER, and no scale.
    config = meta.get("config_file") or re.sub(r"-\d+-\d+$", "", meta.get("experiment_name", ""))
    scale, given = meta.get("scale"), cfg.get("scale")
    differing = []
    if config and Path(config).stem != Path(cfg.filename or "").stem:
        differing.append(f"with {config}")
    if "config_file" in meta and scale != given:
        differing.append(f"with --scale {scale}" if scale else "without --scale")
    if not differing:
        return ""
    return f": {run} was trained {' and '.join(differing)}; echozoo test {run} needs neither"


def _some(keys: list[str]) -> str:
    more = ", ..." if len(keys) > _KEYS_SHOWN else ""
    return ", ".join(keys[:_KEYS_SHOWN]) + more
