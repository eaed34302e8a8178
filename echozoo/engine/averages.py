"""Testing the mean of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from echozoo import run_folder
from echozoo.engine.config_file import load_config
from echozoo.errors import ConfigError

# What members must have in common: they see the same clips, and mean the same by their classes.
_SHARED = ("image_size", "clip_length", "structures")


def average(cfg: Config, weights: str, others: Sequence[str]) -> None:
    """Let a test average a model with others; data and post-processing stay its own.

    Raises:
        ConfigError: One has no config, or sees other clips or structures.
        CheckpointError: One has no checkpoint.
    """
    members = [dict(model=cfg.model, weights=weights)]
    for one in others:
        file = run_folder.checkpoint_file(one, best=True)
        own = load_config(run_folder.find_config(one) if Path(one).is_dir() else file)
        for key in _SHARED:
            found, wanted = (c.test_dataloader.dataset.get(key) for c in (own, cfg))
            if found != wanted:
                raise ConfigError(f"--average {one}: its data have {key}={found}, wanted {wanted}")
        members.append(dict(model=own.model, weights=file))
    steps = cfg.model.get("postprocessing") or ()
    for member in members:
        member["model"] = {**member["model"], "postprocessing": ()}
    cfg.model = dict(type="Ensemble", members=members, postprocessing=steps)
