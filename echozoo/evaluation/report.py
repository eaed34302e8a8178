"""Results for people (a table) and for programs (results.csv, results.json)."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mmengine
from rich.table import Table

import echozoo
from echozoo.command_line import command_line
from echozoo.errors import ConfigError
from echozoo.evaluation.functional.aggregate import ALL, CONFIDENCE, Estimate, Summary
from echozoo.evaluation.text_tables import as_text, text_table
from echozoo.postprocessing.plausibility import MEANINGS
from echozoo.whole_files import written_whole

DECIMALS = {"dice": 3, "iou": 3, "dice_with_empty_as_0": 3}
HEADINGS = {"dice_with_empty_as_0": "dice,\nempty = 0"}
METRICS = {
    "dice": "2 |P and R| / (|P| + |R|), in [0, 1]",
    "iou": "|P and R| / |P or R|, in [0, 1]",
    "dice_with_empty_as_0": "dice, an empty prediction of a structure that is there counted as 0",
    "hd_mm": "Hausdorff distance in mm on the native grid",
    "hd95_mm": "larger of the two directed 95th percentiles, in mm on the native grid (MONAI's "
    "convention; not medpy's pooled, not surface-distance's length-weighted percentile)",
    "assd_mm": "mean of all boundary distances, both directions pooled, in mm on the native grid",
    "hd_px": "Hausdorff distance in pixels, both masks resized to 256 x 256 (nearest)",
}
STATISTICS = {
    "mean": "mean over images; for the structure 'mean', the mean of the structures' means",
    "low, high": f"{CONFIDENCE:.0%} percentile bootstrap over patients",
    "num_cases": "structures in images that have a number, so that are in the mean",
    "num_empty": "cases whose structure is there and whose prediction is empty: NaN, in no mean",
    "num_absent": "cases whose reference lacks the structure: NaN, in no mean",
}
CASES = {
    "predicted_px": "pixels of the prediction on the native grid",
    "flags": "what is implausible about the prediction by itself; "
    + "; ".join(f"{what}: {meaning}" for what, meaning in MEANINGS.items()),
}
_PACKAGES = ("torch", "numpy", "scipy")
_NOTE = f"""\
means over images, {CONFIDENCE:.0%} bootstrap intervals over patients
mm on the native grid, hd_px in pixels at 256 x 256; hd95: larger of both directed 95th percentiles
empty (structure there, prediction empty) and absent (structure not in the reference): in no mean"""


def results_table(summaries: Sequence[Summary]) -> str:
    """Lay out summaries as text: structures with intervals, then instants and views.

    Returns:
        Plain text, some 110 characters wide.
    """
    overall = [s for s in summaries if s.instant == s.view == ALL]
    # An instant or a view at a time, instants first; both at once are in results.json.
    others = [s for s in summaries if s.instant != ALL and s.view == ALL]
    others += [s for s in summaries if s.instant == ALL and s.view != ALL]
    columns = _columns(overall)
    head = overall[-1]
    title = f"{head.num_patients} patients, {head.num_images} images"
    tables = [_table(title, overall, columns, grouped=False)]
    if others:
        tables.append(_table("by instant and view", others, columns, grouped=True))
    return f"{as_text(*tables)}\n{_NOTE}{_spacing_note(head)}"


def flags_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """Count implausible predictions in one line.

    Args:
        rows: One a case with ``sequence``, ``frame`` and ``flags``.

    Returns:
        How many images have a flag, and how often each is raised.
    """
    images = {(row["sequence"], row["frame"]) for row in rows}
    flagged = {(row["sequence"], row["frame"]) for row in rows if row["flags"]}
    counts = Counter(flag for row in rows for flag in row["flags"])
    each = ", ".join(f"{flag} {count}" for flag, count in counts.most_common())
    return f"implausible predictions: {len(flagged)} of {len(images)} images{each and f' ({each})'}"


def write_csv(folder: str | Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write one line a case to ``results.csv``; a metric that is NaN is an empty cell.

    Raises:
        ConfigError: The file cannot be written.
    """
    return write_rows(Path(folder) / "results.csv", rows)


def write_json(
    folder: str | Path,
    summaries: Sequence[Summary],
    config_name: str | None,
    bootstrap: Mapping[str, int],
    given_frames: int = 0,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write summaries with what their numbers mean to ``results.json``; NaN is null.

    Args:
        folder: Made where it does not exist.
        summaries: As `summarise` gives them.
        config_name: Config that the numbers belong to, if known.
        bootstrap: Number of resamples and seed.
        given_frames: How many frames are in no number because their masks were given.
        about: What else is known of the run, see `echozoo.engine.provenance.about_test`.

    Raises:
        ConfigError: The file cannot be written.
    """
    content = {
        "config": config_name,
        **origin(),
        **about,
        "definitions": {name: METRICS[name] for name in summaries[0].estimates}
        | STATISTICS
        | CASES,
        "given_frames": given_frames,
        "bootstrap": {"level": CONFIDENCE, "method": "percentile", "unit": "patient", **bootstrap},
        "summaries": [asdict(summary) for summary in summaries],
    }
    return write_content(Path(folder) / "results.json", content)


def origin() -> dict[str, Any]:
    """How numbers were made: ``command``, ``date`` and ``versions`` of a file."""
    return {
        "command": command_line(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "echozoo": echozoo.__version__,
            "mmengine": mmengine.__version__,
            "python": platform.python_version(),
        }
        | {package: version(package) for package in _PACKAGES},
    }


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a CSV file, one line a row; NaN and None are empty cells.

    Args:
        path: The file; folders are made.
        rows: With equal keys, which become the columns.

    Raises:
        ConfigError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return write_text(path, text.getvalue())


def write_content(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file; NaN is null.

    Raises:
        ConfigError: The file cannot be written.
    """
    text = json.dumps(_without_nan(content), indent=2, allow_nan=False)
    return write_text(path, text + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a file whole: a reader sees the old one or the new one, nothing between.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            part.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot write the results ({error.strerror}); choose another out_dir"
        ) from error
    return path


def _columns(overall: Sequence[Summary]) -> list[str]:
    names = list(overall[-1].estimates)
    # Nothing empty: the column would repeat dice.
    if not any(summary.num_empty for summary in overall):
        names = [name for name in names if name != "dice_with_empty_as_0"]
    return names


def _spacing_note(overall: Summary) -> str:
    measures = overall.estimates
    if "hd_mm" not in measures:
        return ""
    missing = measures["dice"].num_cases - measures["hd_mm"].num_cases
    return f"\n{missing} cases are of unknown spacing and in no mean in mm" if missing else ""


def _table(
    title: str, summaries: Sequence[Summary], metrics: Sequence[str], grouped: bool
) -> Table:
    labels = ("group", "structure") if grouped else ("structure",)
    numbers = ("images", "empty", "absent", *(HEADINGS.get(m, m) for m in metrics))
    table = text_table(title, *labels, *numbers, labels=len(labels))
    previous = None
    for summary in summaries:
        group = summary.view if summary.instant == ALL else summary.instant
        if previous not in (None, group):
            table.add_section()
        counts = (summary.num_images, summary.num_empty, summary.num_absent)
        cells = [_number(m, summary.estimates[m], interval=not grouped) for m in metrics]
        label = [group if group != previous else ""] if grouped else []
        table.add_row(*label, summary.structure, *map(str, counts), *cells)
        previous = group
    return table


def _number(metric: str, estimate: Estimate, interval: bool) -> str:
    if math.isnan(estimate.mean):
        return "-"
    digits = DECIMALS.get(metric, 2)
    text = f"{estimate.mean:.{digits}f}"
    if interval and not math.isnan(estimate.low):
        text += f"\n{estimate.low:.{digits}f}-{estimate.high:.{digits}f}"
    return text


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
