"""Which runs the rows of tables ask for: a config, a seed, options, and a folder for each."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from echozoo.engine import launch
from echozoo.engine.hooks.parameter_table import count_parameters
from echozoo.options import add_run_options
from echozoo.registry import MODELS
from echozoo.tables.definition import Row, TableDefinition

FULL = "full"
"""Names the scale of a config as it stands."""


@dataclass(frozen=True)
class Settings:
    """What the runs of one call have in common.

    Attributes:
        root: Folder of all runs.
        data_name: Name of the data set: stands in folders and files, as its path does not.
        scale: A scale of the configs; None is the full size.
        seeds: A run each.
        dataset: Keys of the data sets; they win over a table's.
        cfg_options: Keys of the config; they win over a row's.
        amp: "bf16", "fp16" or None.
        folds: Of each seed a run a fold, tested on patients of its own; none is the split of the
            data set's keys.
    """

    root: Path
    data_name: str
    scale: str | None = None
    seeds: tuple[int, ...] = (0,)
    dataset: Mapping[str, Any] | None = None
    cfg_options: Mapping[str, Any] | None = None
    amp: str | None = None
    folds: tuple[int, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the runs of this scale and data set are."""
        return self.root / (self.scale or FULL) / self.data_name


@dataclass(frozen=True)
class Run:
    """A training with its test, or a test of published weights.

    Two rows that ask for the same thing have equal runs, in one folder.

    Attributes:
        config: Config file.
        seed: Of all random numbers.
        folder: Work folder.
        data_name: Name of the data set.
        scale: A scale of the config; None is the full size.
        dataset: ``KEY=VALUE`` for the data sets.
        cfg_options: ``KEY=VALUE`` for the config.
        amp: Mixed precision; None is single precision.
        starts_from: Run whose weights this one starts from.
        weights: Published weights to test without training, "" for a model that has none; None
            trains.
        averages: Runs whose models are averaged in a test; the first one's folder is ``weights``.
            One alone is tested once more, with other ``postprocess``.
        postprocess: Steps of that test, in place of the config's.
        fold: Of the data, for a cross-validation.
    """

    config: Path
    seed: int
    folder: Path
    data_name: str
    scale: str | None
    dataset: tuple[str, ...]
    cfg_options: tuple[str, ...]
    amp: str | None
    starts_from: Run | None = None
    weights: str | None = None
    averages: tuple[Run, ...] = ()
    postprocess: tuple[str, ...] = ()
    fold: int | None = None

    @property
    def needs(self) -> tuple[Run, ...]:
        """Runs that have to be trained before it."""
        return (*filter(None, (self.starts_from,)), *self.averages)

    @property
    def name(self) -> str:
        """What it is called on the screen."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def options(self, parent: str | Path | None = None) -> list[str]:
        """Return its options of echozoo train and echozoo test, but for data and folder.

        Args:
            parent: How to name the run that this one starts from; None is by its folder.
        """
        cfg_options = list(self.cfg_options)
        if self.starts_from is not None:
            cfg_options.append(f"model.pretrained.path={parent or self.starts_from.folder}")
        return [
            *(["--scale", self.scale] if self.scale else []),
            *(["--dataset", *self.dataset] if self.dataset else []),
            *(["--cfg-options", *cfg_options] if cfg_options else []),
            *(["--amp", self.amp] if self.amp else []),
            *["--seed", str(self.seed)],
        ]

    def test_options(self, members: Sequence[str | Path]) -> list[str]:
        """Return what echozoo test takes beyond `options`: other members, steps.

        Args:
            members: How to name the runs that are averaged.
        """
        return [
            *(["--average", *map(str, members[1:])] if members[1:] else []),
            *(["--postprocess", *self.postprocess] if self.postprocess else []),
        ]

    def read_config(self) -> Config:
        """Read the config with the run's options, as the tools will.

        Raises:
            ConfigError: The file, a key or a value is wrong.
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("config")
        add_run_options(parser)
        # By names, not places: the same run elsewhere has the same config.
        parent = self.starts_from and self.starts_from.name
        arguments = [str(self.config), *self.options(parent), "--data-root", self.data_name]
        return launch.read_config(parser.parse_args([*arguments, "--work-dir", "."]))

    @cached_property
    def parameters(self) -> tuple[int, int]:
        """How many numbers the model has, and how many of them train; no memory is taken.

        Raises:
            ConfigError: The model cannot be built.
        """
        if self.averages:
            return sum(run.parameters[0] for run in self.averages), 0
        cfg = self.read_config()
        launch.forget_pretrained(cfg)
        with torch.device("meta"):
            model = MODELS.build({**cfg.model, "_scope_": "echozoo"})
        total = count_parameters(model)[-1]
        return total.parameters, total.trainable

    @cached_property
    def fingerprint(self) -> str:
        """Changes with every value of its config, wherever data and folders are."""
        content = self.read_config().to_dict()
        content.pop("scale", None)  # its values are there; earlier versions kept no name
        if self.averages:
            content["averages"] = [run.fingerprint for run in self.averages]
        if self.postprocess:
            content["postprocess"] = self.postprocess
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class PlannedRow:
    """A row with its runs, one a seed.

    Attributes:
        row: The row.
        runs: Its runs.
        obstacle: Why they cannot be run; "" where they can. What was run elsewhere counts.
    """

    row: Row
    runs: tuple[Run, ...]
    obstacle: str = ""


@dataclass(frozen=True)
class PlannedTable:
    """A table with the runs of its rows."""

    definition: TableDefinition
    rows: tuple[PlannedRow, ...]


def key_values(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return ``KEY=VALUE`` as the command line has it, lists without spaces."""
    return tuple(f"{key}={str(value).replace(', ', ',')}" for key, value in values.items())
