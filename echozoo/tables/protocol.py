"""Under what conditions a table was measured, and what a reader has to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from echozoo.tables.cells import count
from echozoo.tables.collect import RowResult, TestedRun
from echozoo.tables.definition import TableDefinition
from echozoo.tables.runs import FULL, Run

_COUNTS = ("frames", "inconsistent_frames", "sequences", "inconsistent_sequences")


def protocol(pools: Sequence[Sequence[TestedRun]]) -> list[str]:
    """Say on what and how rows were measured.

    Args:
        pools: The runs of all rows, the folds of a seed together.

    Returns:
        Lines of a list; what differs between rows stands side by side.
    """
    if not pools:
        return ["nothing was run yet"]
    tested = [one for pool in pools for one in pool]
    records = [one.record for one in tested]
    packages = ("python", "torch", "numpy", "scipy", "mmengine", "echozoo")
    lines = [
        f"data: {join(map(_data, pools))}",
        f"scale: {join(r.scale or FULL for r in records)}; seeds: "
        f"{join(str(seed) for seed in sorted({r.seed for r in records}))}",
        f"hardware: {join(hardware(one) for one in tested)}",
        "versions: "
        + join(", ".join(f"{name} {r.versions.get(name)}" for name in packages) for r in records),
        f"code: {join(r.commit or 'not a git checkout' for r in records)}; "
        f"begun {min(r.started for r in records)[:10]} to {max(r.started for r in records)[:10]}",
    ]
    return lines + _temporal(pools)


def notes(table: TableDefinition, results: Sequence[RowResult]) -> list[str]:
    """Collect what a reader has to know: the definition's notes, and what was not run.

    Returns:
        Lines of a list.
    """
    lines = list(table.notes)
    for result in results:
        name, planned = result.planned.row.name, result.planned
        missing = [run for run in planned.runs if run not in {t.run for t in result.tested}]
        if planned.obstacle and not result.tested:
            lines.append(f"{name}: not run: {planned.obstacle}.")
        elif missing:
            which = ", ".join(map(_which, missing))
            left_out = "; a seed counts with all of its folds" if missing[0].fold else ""
            lines.append(f"{name}: not run{f' with {which}{left_out}' if result.tested else ''}.")
        stale = ", ".join(_which(one.run) for one in result.tested if one.stale)
        if stale:
            lines.append(f"{name}: its config has changed since {stale} was trained.")
    return lines


def hardware(one: TestedRun) -> str:
    """Name what a run was made on."""
    record = one.record
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    if record.processes > 1:
        threads = f"{record.processes} processes of {threads}"
    beside = f", {record.jobs} runs at a time" if record.jobs > 1 else ""
    return f"{record.hardware}, {threads}{beside}"


def join(texts: Iterable[str]) -> str:
    """Show each text once, side by side."""
    return " / ".join(dict.fromkeys(texts))


def _which(run: Run) -> str:
    return f"seed {run.seed}" + (f" on fold {run.fold}" if run.fold else "")


def _data(pool: Sequence[TestedRun]) -> str:
    rows = [row for one in pool for row in one.files["results"]]
    patients = len({row["patient"] for row in rows})
    images = len({(row["sequence"], row["frame"]) for row in rows})
    settings: dict[str, list[str]] = {}  # the folds have each its split
    for setting in dict.fromkeys(text for one in pool for text in one.record.dataset):
        key, _, value = setting.partition("=")
        settings.setdefault(key, []).append(value)
    shown = "".join(f", {key}={' + '.join(values)}" for key, values in settings.items())
    return f"{pool[0].record.data}{shown}: {patients} test patients, {images} images"


def _temporal(pools: Sequence[Sequence[TestedRun]]) -> list[str]:
    """Say by which limits frames were judged, and what the reference masks come to."""
    lines = []
    for pool in pools:
        counted = [one.temporal.get("reference", {}) for one in pool]
        reference = {name: sum(one.get(name) or 0 for one in counted) for name in _COUNTS}
        if reference["frames"]:
            limits = pool[0].temporal.get("limits", {})
            lines.append(
                f"temporal limits: {limits.get('name')}: {limits.get('provenance')}; by them the "
                f"reference masks have {count(reference['inconsistent_frames'])} of "
                f"{count(reference['frames'])} frames inconsistent, in "
                f"{count(reference['inconsistent_sequences'])} of "
                f"{count(reference['sequences'])} sequences"
            )
    return list(dict.fromkeys(lines))
