"""Which runs the rows of tables ask for: a config, a seed, options, and a folder for each."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from echozoo.engine import launch
from echozoo.engine.config_file import load_config
from echozoo.engine.hooks.parameter_table import count_parameters
from echozoo.errors import ConfigError
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
    """

    root: Path
    data_name: str
    scale: str | None = None
    seeds: tuple[int, ...] = (0,)
    dataset: Mapping[str, Any] | None = None
    cfg_options: Mapping[str, Any] | None = None
    amp: str | None = None

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

    def read_config(self) -> Config:
        """Read the config with the run's options, as the tools will.

        Raises:
            ConfigError: The file, a key or a value is wrong.
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("config")
        launch.add_options(parser)
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


def plan_table(table: TableDefinition, settings: Settings) -> PlannedTable:
    """Find the runs of every row of a table.

    Args:
        table: Its definition.
        settings: Of the call.

    Returns:
        The rows with their runs.

    Raises:
        ConfigError: A row's config or an option is wrong, or the config has no such scale. A row
            that is only tested has an obstacle instead.
    """
    return PlannedTable(table, tuple(_plan_row(table, row, settings) for row in table.rows))


def runs_of(rows: Iterable[PlannedRow]) -> list[Run]:
    """List what is to run, each run once, and what a run starts from before it.

    Args:
        rows: Of one table or several; those with an obstacle are left out.
    """
    found: dict[Run, None] = {}
    for planned in rows:
        for run in () if planned.obstacle else planned.runs:
            if run.starts_from is not None:
                found.setdefault(run.starts_from)
            found.setdefault(run)
    return list(found)


def key_values(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return ``KEY=VALUE`` as the command line has it, lists without spaces."""
    return tuple(f"{key}={str(value).replace(', ', ',')}" for key, value in values.items())


def _plan_row(table: TableDefinition, row: Row, settings: Settings) -> PlannedRow:
    try:
        if not row.trains:
            return _plan_test(table, row, settings)
        runs = tuple(_run(table, row, seed, settings) for seed in settings.seeds)
        runs[0].read_config()
    except ConfigError as error:
        raise ConfigError(f"{table.path}: row {row.name!r}: {error}") from error
    return PlannedRow(row, runs)


def _plan_test(table: TableDefinition, row: Row, settings: Settings) -> PlannedRow:
    """Plan a row that is only tested: one run, as no seed enters."""
    if settings.scale and settings.scale not in (load_config(row.config).get("scales") or {}):
        return PlannedRow(row, (), f"{row.config} has no scale {settings.scale!r}")
    run = _run(table, row, settings.seeds[0], settings)
    weights = run.read_config().model.get("pretrained")
    weights = weights.get("path") if isinstance(weights, Mapping) else weights
    if weights:
        absent = "" if Path(weights).is_file() else f"{weights} is absent; echozoo download"
        return PlannedRow(row, (replace(run, weights=weights),), absent)
    run = replace(run, weights="")
    try:
        if any(run.parameters):
            return PlannedRow(row, (), f"{row.config} names no published weights at this scale")
    except ConfigError as error:  # stored masks that are not on this machine
        return PlannedRow(row, (run,), str(error))
    return PlannedRow(row, (run,))


def _run(table: TableDefinition, row: Row, seed: int, settings: Settings) -> Run:
    dataset = {**table.dataset, **(settings.dataset or {})}
    cfg_options = {**row.options, **(settings.cfg_options or {})}
    parent = _parent(table, row, seed, settings)
    tag = _tag(dataset, cfg_options, settings.amp, parent)
    return Run(
        config=row.config,
        seed=seed,
        folder=settings.folder / f"{row.config.stem}{tag}" / f"seed{seed}",
        data_name=settings.data_name,
        scale=settings.scale,
        dataset=key_values(dataset),
        cfg_options=key_values(cfg_options),
        amp=settings.amp,
        starts_from=parent,
    )


def _parent(table: TableDefinition, row: Row, seed: int, settings: Settings) -> Run | None:
    if row.starts_from is None:
        return None
    rows = {one.name: one for one in table.rows}
    parent = rows.get(row.starts_from)
    if parent is None:
        config = row.config.parent / row.starts_from
        if not config.is_file():
            raise ConfigError(
                f"starts_from={row.starts_from!r} is neither a row ({', '.join(rows)}) nor a "
                f"config in {row.config.parent}"
            )
        parent = Row(name=row.starts_from, config=config)
    if not isinstance(load_config(row.config).model.get("pretrained"), Mapping):
        raise ConfigError(
            f"{row.config}: starts from {row.starts_from!r}, but its model.pretrained is no "
            "dict(path=..., parts=...)"
        )
    return _run(table, parent, seed, settings)


def _tag(
    dataset: Mapping[str, Any],
    cfg_options: Mapping[str, Any],
    amp: str | None,
    parent: Run | None,
) -> str:
    """Tell runs of one config apart by what was set: readable, and with a hash if not exact."""
    short_keys = {key.rsplit(".", 1)[-1]: value for key, value in cfg_options.items()}
    parts = [*key_values({**dataset, **short_keys}), *([amp] if amp else [])]
    text = "".join(f"-{part}" for part in parts)
    # No commas: a run that starts from this one names its folder on the command line.
    short = re.sub(r"[^\w.=-]", "", text.replace(",", "_"))[:60]
    if short == text and not cfg_options and parent is None:
        return short
    exact = json.dumps([dataset, cfg_options, amp, parent and parent.name], default=str)
    return f"{short}-{hashlib.sha256(exact.encode()).hexdigest()[:6]}"
