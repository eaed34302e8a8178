"""From the rows of a table to the runs that they ask for, in an order that can be run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from echozoo.engine.config_file import load_config
from echozoo.errors import ConfigError
from echozoo.tables.definition import Row, TableDefinition
from echozoo.tables.runs import PlannedRow, PlannedTable, Run, Settings, key_values


def plan_table(table: TableDefinition, settings: Settings) -> PlannedTable:
    """Find the runs of every row of a table.

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
            for needed in run.needs:
                found.update(dict.fromkeys((*needed.needs, needed)))
            found.setdefault(run)
    return list(found)


def _plan_row(table: TableDefinition, row: Row, settings: Settings) -> PlannedRow:
    try:
        if not row.trains and not row.averages:
            return _plan_test(table, row, settings)
        plan = _average if row.averages else _run
        runs = tuple(
            plan(table, row, seed, settings, fold)
            for seed in settings.seeds
            for fold in settings.folds or (None,)
        )
        runs[0].read_config()
    except ConfigError as error:
        raise ConfigError(f"{table.path}: row {row.name!r}: {error}") from error
    return PlannedRow(row, runs)


def _plan_test(table: TableDefinition, row: Row, settings: Settings) -> PlannedRow:
    """Plan a row that is only tested: one run, or one a fold, as no seed enters."""
    if settings.scale and settings.scale not in (load_config(row.config).get("scales") or {}):
        return PlannedRow(row, (), f"{row.config} has no scale {settings.scale!r}")
    folds = settings.folds or (None,)
    runs = [_run(table, row, settings.seeds[0], settings, fold) for fold in folds]
    run = runs[0]
    weights = run.read_config().model.get("pretrained")
    weights = weights.get("path") if isinstance(weights, Mapping) else weights
    if weights:
        absent = "" if Path(weights).is_file() else f"{weights} is absent; echozoo download"
        return PlannedRow(row, tuple(replace(one, weights=weights) for one in runs), absent)
    runs = tuple(replace(one, weights="") for one in runs)
    try:
        if any(run.parameters):
            return PlannedRow(row, (), f"{row.config} names no published weights at this scale")
    except ConfigError as error:  # stored masks that are not on this machine
        return PlannedRow(row, runs, str(error))
    return PlannedRow(row, runs)


def _average(
    table: TableDefinition, row: Row, seed: int, settings: Settings, fold: int | None
) -> Run:
    """Plan the test of an average, beside the runs of its members."""
    rows = {one.name: one for one in table.rows}
    members = tuple(_run(table, rows[name], seed, settings, fold) for name in row.averages)
    names = "+".join([*(member.config.stem for member in members), *row.postprocess])
    exact = json.dumps([*(member.name for member in members), *row.postprocess])
    tag = hashlib.sha256(exact.encode()).hexdigest()[:6]
    kind = "average" if len(members) > 1 else "again"
    return replace(
        members[0],
        folder=settings.folder / f"{kind}-{names}-{tag}" / f"seed{seed}",
        starts_from=None,
        weights=str(members[0].folder),
        averages=members,
        postprocess=row.postprocess,
    )


def _run(
    table: TableDefinition, row: Row, seed: int, settings: Settings, fold: int | None = None
) -> Run:
    dataset = {**table.dataset, **(settings.dataset or {})}
    if fold is not None:
        dataset["split"] = f"fold{fold}"
    cfg_options = {**row.options, **(settings.cfg_options or {})}
    parent = _parent(table, row, seed, settings, fold)
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
        fold=fold,
    )


def _parent(
    table: TableDefinition, row: Row, seed: int, settings: Settings, fold: int | None
) -> Run | None:
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
    return _run(table, parent, seed, settings, fold)


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
