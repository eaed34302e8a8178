"""A trained model as three files that can be passed on: weights, config, model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.config import Config

import echozoo
from echozoo.datasets.phantom.writing import MANIFEST
from echozoo.errors import ConfigError, DataError
from echozoo.export.model_card import model_card
from echozoo.export.trained import TrainedModel
from echozoo.export.weights_file import verify, write_weights
from echozoo.models.weight_files import load_safely

CAMUS_LICENCE = (
    "Research only, non-commercial: trained on CAMUS, which is free for non-commercial research "
    "with citation (S. Leclerc et al., IEEE TMI 38(9), 2198-2210, 2019)"
)
PHANTOM_LICENCE = "Apache-2.0"
# What a config says about the machine that it ran on.
_OF_THIS_MACHINE = {"cache_dir", "data_root", "experiment_name", "load_from", "out_dir", "work_dir"}
_DATA_KEYS = ("split", "frames", "clip_length", "views", "quality", "structures")


@dataclass(frozen=True)
class Published:
    """What `publish` has written.

    Attributes:
        weights: The safetensors file.
        config: The config, without what it says about this machine.
        card: The model card.
        notes: What the user should know, a line each.
    """

    weights: Path
    config: Path
    card: Path
    notes: tuple[str, ...]


def publish(
    trained: TrainedModel,
    folder: str | Path,
    results: str | Path | None = None,
    training_data: str | None = None,
    licence: str | None = None,
) -> Published:
    """Write a model's weights (no optimiser), its config and a card that says what it is.

    Args:
        trained: The model.
        folder: Where the files go; made where it does not exist.
        results: The ``results.json`` of a test of this checkpoint. None takes the one beside the
            checkpoint, unless it is older than the checkpoint.
        training_data: What the model was trained on, for a checkpoint that does not say so itself.
        licence: Of the weights, likewise.

    Returns:
        The files.

    Raises:
        ConfigError: The folder cannot be written, or the training data or the licence is not known.
        DataError: The results cannot be read, or belong to another config.
    """
    folder, notes = Path(folder), []
    data, terms = _origin(trained, training_data, licence)
    measured = _results(trained, results, notes)
    config = public_config(trained.cfg)
    metadata = {
        "name": trained.name,
        "config": config,
        "echozoo_version": echozoo.__version__,
        "metrics": json.dumps(measured) if measured else "",
        "training_data": data,
        "licence": terms,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "checkpoint": trained.checkpoint.name,
        "intended_use": "research; not for diagnosis",
    }
    draft = folder / f".{trained.name}.safetensors"
    try:
        write_weights(draft, trained.model.state_dict(), metadata)
        metadata = verify(draft)  # as others will
        file = folder / f"{trained.name}-{metadata['weights_sha256'][:8]}.safetensors"
        draft.replace(file)
        config_file, card = folder / f"{trained.name}.py", folder / "MODEL_CARD.md"
        config_file.write_text(config, encoding="utf-8")
        card.write_text(model_card(trained, file, metadata, measured), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror})") from error
    return Published(file, config_file, card, tuple(notes))


def public_config(cfg: Config) -> str:
    """Return a config's text without the paths and names of the machine that it ran on.

    Args:
        cfg: The config; it stays as it is.
    """
    return Config(_without_paths(cfg.to_dict())).pretty_text


def _without_paths(value: Any, key: str | None = None) -> Any:
    if key in _OF_THIS_MACHINE:
        return None
    if isinstance(value, Mapping):
        return {k: _without_paths(v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_without_paths(item) for item in value)
    if isinstance(value, str) and Path(value).expanduser().is_absolute():
        return Path(value).name
    return value


def _origin(trained: TrainedModel, data: str | None, licence: str | None) -> tuple[str, str]:
    """Say what the model was trained on and on which terms it may be used."""
    from_run = "meta" in load_safely(trained.checkpoint)
    dataset = (trained.cfg.get("train_dataloader") or {}).get("dataset") or {}
    known = from_run and dataset.get("type") == "CAMUSDataset"
    if not known and not (data and licence):
        why = "trains on no CAMUS" if from_run else "is no checkpoint of a run"
        raise ConfigError(
            f"{trained.checkpoint}: {why}, so its origin is not known: wanted --training-data and "
            "--licence"
        )
    if not known:
        return data, licence
    generated = (Path(dataset.get("data_root") or "") / MANIFEST).is_file()
    source = "generated films (tools/make_phantom.py), no patient" if generated else "CAMUS"
    choices = ", ".join(f"{key} {dataset[key]}" for key in _DATA_KEYS if key in dataset)
    terms = PHANTOM_LICENCE if generated else CAMUS_LICENCE
    return data or f"{source}; by the config: subset train, {choices}", licence or terms


def _results(trained: TrainedModel, results: str | Path | None, notes: list[str]) -> dict:
    file = Path(results) if results else trained.checkpoint.parent / "results.json"
    if not results and not file.is_file():
        notes.append(f"no metrics: {file} is not there; test first (tools/test.py), then publish")
        return {}
    if not results and file.stat().st_mtime < trained.checkpoint.stat().st_mtime:
        notes.append(f"no metrics: {file} is older than {trained.checkpoint.name}; test again")
        return {}
    try:
        measured = json.loads(file.read_text(encoding="utf-8"))
        overall = [s["estimates"] for s in measured["summaries"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: found no results ({error}), wanted those of test.py") from error
    if not overall or measured.get("config") not in (None, trained.name):
        raise DataError(
            f"{file}: found results of {measured.get('config')}, wanted some of {trained.name}"
        )
    return measured
