"""A trained model as three files that can be passed on: weights, config, model card."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.config import Config

import echozoo
from echozoo.apis.model import LoadedModel
from echozoo.engine.config_file import load_config
from echozoo.errors import ConfigError, DataError
from echozoo.export.model_card import metrics_text, model_card
from echozoo.export.weights_file import verify, write_weights
from echozoo.models.weight_files import load_safely
from echozoo.phantom.writing import MANIFEST
from echozoo.whole_files import written_whole

CAMUS_LICENCE = (
    "CC BY-NC-SA 4.0, as CAMUS on which they were trained: non-commercial research with citation, "
    "and shared on these terms (S. Leclerc et al., IEEE TMI 38(9), 2198-2210, 2019)"
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
    loaded: LoadedModel,
    folder: str | Path,
    results: str | Path | None = None,
    training_data: str | None = None,
    licence: str | None = None,
    half: bool = False,
) -> Published:
    """Write a model's weights (no optimiser), its config and a card that says what it is.

    Args:
        loaded: The model, with the checkpoint that it is from.
        folder: Where the files go; made where it does not exist.
        results: The ``results.json`` of a test of this checkpoint. None takes the one beside the
            checkpoint, unless it is older than the checkpoint.
        training_data: What the model was trained on, for a checkpoint that does not say so itself.
        licence: Of the weights, likewise.
        half: Write them in half precision.

    Raises:
        ConfigError: The folder cannot be written, or the training data or the licence is not known.
        DataError: The results cannot be read.
    """
    folder, notes, name = Path(folder), [], Path(loaded.cfg.filename).stem
    cfg = load_config(loaded.cfg.filename)  # the loaded one has forgotten what it started from
    data, terms = _origin(loaded.checkpoint, cfg, training_data, licence)
    measured = _results(loaded.checkpoint, results, notes)
    config = public_config(cfg)
    metadata = {
        "name": name,
        "config": json.dumps(config.to_dict()),
        "echozoo_version": echozoo.__version__,
        "metrics": json.dumps(measured) if measured else "",
        "training_data": data,
        "started_from": _start(cfg),
        "checkpoint": loaded.checkpoint.name,
        "licence": terms,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "intended_use": "research; not for diagnosis",
    }
    draft = folder / f".{name}.safetensors"
    try:
        weights = loaded.model.state_dict()
        if half:
            weights = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
        write_weights(draft, weights, metadata)
        metadata = verify(draft)  # as others will
        file = folder / f"{name}-{metadata['weights_sha256'][:8]}.safetensors"
        draft.replace(file)
        config_file, card = folder / f"{name}.py", folder / "MODEL_CARD.md"
        story = model_card(loaded, file, metadata, measured)
        for path, text in ((config_file, config.pretty_text), (card, story)):
            with written_whole(path) as part:
                part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder}: cannot write there ({error.strerror})") from error
    return Published(file, config_file, card, tuple(notes))


def public_config(cfg: Config) -> Config:
    """Return a config without the paths and names of the machine that it ran on.

    Args:
        cfg: The config; it stays as it is.
    """
    return Config(_without_paths(cfg.to_dict()))


def _without_paths(value: Any, key: str | None = None) -> Any:
    if key in _OF_THIS_MACHINE:
        return None
    if isinstance(value, Mapping):
        return {k: _without_paths(v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_without_paths(item) for item in value)
    return _last_name(value) if isinstance(value, str) else value


def _last_name(text: str) -> str:
    """Cut an absolute path to its last name; any other text stays."""
    return Path(text).name if text.startswith(("/", "~")) or Path(text).is_absolute() else text


def _public_command(command: str) -> str:
    """The command of a test without the folders of the machine that it ran on."""
    words = []
    for word in shlex.split(command):
        key, equals, value = word.rpartition("=")
        word = f"{key}{equals}{_last_name(value)}"
        words.append("PATH" if words and words[-1] in ("--data-root", "--work-dir") else word)
    return shlex.join(words)


def _origin(
    checkpoint: Path, cfg: Config, data: str | None, licence: str | None
) -> tuple[str, str]:
    """Say what the model was trained on and on which terms it may be used."""
    if data and licence:
        return data, licence
    from_run = "meta" in load_safely(checkpoint)
    dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    if not from_run or dataset.get("type") != "CAMUSDataset":
        why = "was not trained on CAMUS" if from_run else "is no checkpoint of a run"
        raise ConfigError(
            f"{checkpoint}: {why}, so its origin is not known: wanted --training-data and --licence"
        )
    generated = (Path(dataset.get("data_root") or "") / MANIFEST).is_file()
    source = "generated films (echozoo phantom), no patient" if generated else "CAMUS"
    choices = ", ".join(f"{key} {dataset[key]}" for key in _DATA_KEYS if key in dataset)
    terms = PHANTOM_LICENCE if generated else CAMUS_LICENCE
    return data or f"{source}; by the config: subset train, {choices}", licence or terms


def _start(cfg: Config) -> str:
    start = cfg.model.get("pretrained")
    path = start.get("path") if isinstance(start, Mapping) else start
    return Path(path).name if path else "random weights"


def _results(checkpoint: Path, results: str | Path | None, notes: list[str]) -> dict:
    file = Path(results) if results else checkpoint.parent / "results.json"
    if not results and not file.is_file():
        notes.append(f"no metrics: {file} is not there; test first (echozoo test), then publish")
        return {}
    if not results and file.stat().st_mtime < checkpoint.stat().st_mtime:
        notes.append(f"no metrics: {file} is older than {checkpoint.name}; test again")
        return {}
    try:
        measured = json.loads(file.read_text(encoding="utf-8"))
        measured["command"] = _public_command(measured["command"])
        metrics_text(measured)  # results are what the card can show
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file}: found no results ({' '.join(str(error).split())}), wanted what echozoo test "
            "writes"
        ) from error
    return measured
