"""One self-contained page about a test run, for people: it opens anywhere, without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from echozoo.datasets.anatomy import Instant, Structure, View
from echozoo.errors import ConfigError
from echozoo.evaluation.functional.aggregate import ABSENT, ALL, EMPTY, MEAN, SCORED
from echozoo.postprocessing.plausibility import MEANINGS
from echozoo.visualization import report_figures
from echozoo.visualization.report_files import TestRun, read_run
from echozoo.whole_files import written_whole

MOST_FAILURES = 60
"""Images listed one by one; results.csv has them all."""


class Column(NamedTuple):
    """A metric in the table."""

    key: str
    name: str
    unit: str
    digits: int
    higher_is_better: bool


COLUMNS = (
    Column("dice", "Dice", "0 to 1", 3, True),
    Column("dice_with_empty_as_0", "Dice, empty as 0", "0 to 1", 3, True),
    Column("iou", "IoU", "0 to 1", 3, True),
    Column("hd95_mm", "HD95", "mm", 2, False),
    Column("hd_mm", "Hausdorff", "mm", 2, False),
    Column("assd_mm", "ASSD", "mm", 2, False),
    Column("hd_px", "Hausdorff", "px at 256²", 2, False),
)
SOURCES = {"reference_masks": "the reference masks", "info": "the Info files"}
EF_ROWS = (("ef_pp", "EF", "points"), ("edv_ml", "EDV", "ml"), ("esv_ml", "ESV", "ml"))


def write_report(folder: str | Path, out_html: str | Path | None = None) -> Path:
    """Write the page of a test run.

    Args:
        folder: The work folder of the test.
        out_html: The page; ``report.html`` in the folder if None.

    Raises:
        DataError: The folder has no results, or a file in it cannot be read.
        ConfigError: The page cannot be written.
    """
    path = Path(folder) / "report.html" if out_html is None else Path(out_html)
    page = render(read_run(folder))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose -o") from error
    return path


def render(run: TestRun) -> str:
    """Lay out a test run as HTML; everything that comes from its files is escaped."""
    loader = FileSystemLoader(Path(__file__).parent)
    # Nothing of a run reaches the page as markup: a file name may hold anything.
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "full": _full_name, "short": _short_name}
    summaries = run.results["summaries"]
    structures = list(dict.fromkeys(s["structure"] for s in summaries if s["structure"] != MEAN))
    images = failures(run.rows)
    cases = {kind: _cases(run, kind, structures) for kind in ("worst", "best")}
    charts = report_figures
    return environment.get_template("report.html").render(
        run=run,
        title=Path(run.results.get("config") or run.config_name or run.folder.resolve().name).stem,
        date=_date(run.results.get("date")),
        facts=facts(run),
        columns=_columns(summaries),
        groups=groups(summaries),
        overall=_overall(summaries),
        colours={s.short: "rgb({}, {}, {})".format(*s.colour) for s in Structure},
        dice_charts=_safe(charts.histograms(run.rows, "dice", "Dice of an image")),
        distance_charts=_safe(charts.histograms(run.rows, "hd95_mm", "HD95 of an image, mm")),
        curves=_safe(charts.training_curves(run.folder)),
        cases=cases,
        failures=images[:MOST_FAILURES],
        num_failures=len(images),
        reasons=_count_reasons(images),
        num_images=len({(row["sequence"], row["frame"]) for row in run.rows}),
        num_cases=sum(row["status"] != ABSENT for row in run.rows),
        num_empty=sum(row["status"] == EMPTY for row in run.rows),
        unmeasured=_unmeasured(run.rows, run.results.get("given_frames") or 0),
        flags=MEANINGS,
        agreements=agreements(run.ef),
        ef_chart=Markup(charts.ef_agreement(run.ef_rows)),
    )


def facts(run: TestRun) -> list[tuple[str, str]]:
    """What was run, in pairs of a word and its value; what is not known is left out."""
    cfg = run.config
    data = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    keys = ("subset", "split", "frames", "clip_length", "views", "structures", "quality")
    choices = [f"{key} {_plain(data[key])}" for key in keys if data.get(key) is not None]
    known = run.results
    pairs = [
        ("Model", _model(cfg.get("model") or {})),
        ("Sees", _sees(known.get("sees"), data.get("clip_length"))),
        ("Post-processing", _steps((cfg.get("model") or {}).get("postprocessing")) if cfg else ""),
        ("Checkpoint", known.get("checkpoint") or cfg.get("load_from")),
        ("Its SHA-256", known.get("checkpoint_sha256")),
        ("Trained by", known.get("train_command")),
        ("Data", data.get("data_root")),
        ("Selection", ", ".join(choices)),
        ("Command", known.get("command")),
        ("Config", run.config_name or known.get("config")),
        ("Seed", known.get("seed")),
        ("Date", _date(known.get("date"))),
        ("Hardware", known.get("hardware")),
        ("Versions", ", ".join(f"{k} {v}" for k, v in known.get("versions", {}).items())),
        ("Commit", known.get("commit")),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]


def groups(summaries: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Gather the summaries of each instant and view, everything together first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        parts = [part for part in (summary["instant"], summary["view"]) if part != ALL]
        label = ", ".join(_named(part) for part in parts) or "All images"
        found.setdefault(label, []).append(summary)
    return list(found.items())


def agreements(ef: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, dict[str, Any]]]]]:
    """What ef.json says of each source that predictions were compared with.

    Returns:
        The source's name with a row a quantity: name, unit, statistics; those without a pair of
        numbers are left out.
    """
    found = []
    for source, statistics in ef.get("agreement", {}).items():
        rows = [
            (name, unit, statistics[key])
            for key, name, unit in EF_ROWS
            if statistics.get(key, {}).get("num_pairs")
        ]
        if rows:
            found.append((SOURCES.get(source, source), rows))
    return found


def failures(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """List the images whose prediction failed or is implausible, the worst first.

    Returns:
        For each image its ``row``, its mean ``dice`` and its ``reasons`` as (structure, words).
    """
    images: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        images.setdefault((row["sequence"], row["frame"]), []).append(row)
    found = []
    for cases in images.values():
        reasons = [reason for row in cases for reason in _reasons(row)]
        if reasons:
            known = [row["dice_with_empty_as_0"] for row in cases if row["status"] != ABSENT]
            mean = sum(known) / len(known) if known else math.nan
            found.append({"row": cases[0], "dice": mean, "reasons": reasons})
    return sorted(found, key=lambda image: (math.isnan(image["dice"]), image["dice"]))


def _reasons(row: dict[str, Any]) -> list[tuple[str, str]]:
    reasons = [(row["structure"], "not found: the prediction is empty")] * (row["status"] == EMPTY)
    for flag in row.get("flags", "").split():
        name, _, what = flag.partition(":")
        if (what, row["status"]) != ("empty", EMPTY):  # said already
            reasons.append((name, MEANINGS.get(what, what)))
    return reasons


def _count_reasons(images: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    counts: dict[tuple[str, str], int] = {}
    for image in images:
        for reason in image["reasons"]:
            counts[reason] = counts.get(reason, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return [(structure, words, count) for (structure, words), count in ranked]


def _unmeasured(rows: Sequence[dict[str, Any]], given: int) -> list[str]:
    """Say why cases have no number though nothing failed."""
    absent = sum(row["status"] == ABSENT for row in rows)
    scored = [row for row in rows if row["status"] == SCORED]
    no_mm = sum(math.isnan(row.get("hd_mm", 0.0)) for row in scored)
    notes = []
    if given:
        notes.append(f"{given} images had their masks given to the model and are in no number.")
    if absent:
        notes.append(f"{absent} structures are absent from the reference and in no mean.")
    if no_mm:
        notes.append(f"{no_mm} structures are in images of unknown spacing: no mm for them.")
    return notes


def _columns(summaries: Sequence[dict[str, Any]]) -> list[Column]:
    measured = summaries[0]["estimates"] if summaries else {}
    some_empty = any(summary["num_empty"] for summary in summaries)
    return [
        column
        for column in COLUMNS
        # Nothing empty: the column would repeat Dice.
        if column.key in measured and (some_empty or column.key != "dice_with_empty_as_0")
    ]


def _overall(summaries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    for summary in summaries:
        if (summary["instant"], summary["view"], summary["structure"]) == (ALL, ALL, MEAN):
            return summary
    return None


def _cases(run: TestRun, kind: str, structures: Sequence[str]) -> list[dict[str, Any]]:
    shown = []
    for case in run.cases:
        # The name only: a file that was tampered with reads nothing from elsewhere.
        path = run.folder / "cases" / Path(str(case.get("file"))).name
        if case.get("kind") == kind and path.is_file():
            flags = [
                reason
                for row in run.rows
                if (row["sequence"], row["frame"]) == (case["sequence"], case["frame"])
                for reason in _reasons(row)
            ]
            scores = [(name, case["dice"][name]) for name in structures if name in case["dice"]]
            picture = report_figures.picture(path)
            shown.append(case | {"picture": picture, "reasons": flags, "scores": scores})
    return shown


def _model(model: dict[str, Any]) -> str:
    if not model:
        return ""
    parts = []
    for name in ("backbone", "neck", "prompt_head", "memory", "decoder", "decode_head"):
        part = model.get(name)
        if isinstance(part, dict):
            inner = [part["temporal"]] if part.get("temporal") else []
            inner = " and ".join(_type(each) for each in (*inner, *part.get("inserts", ())))
            parts.append(_type(part) + (f" with {inner}" if inner else ""))
    return f"{_type(model)}: {', '.join(parts)}" if parts else _type(model)


def _sees(sees: Any, clip_length: Any) -> str:
    if sees == "clip":
        return f"{clip_length or 'all'} frames of a clip together"
    return "each frame by itself" if sees == "frame" else ""


def _steps(steps: Any) -> str:
    if not steps:
        return "none"
    named = []
    for step in steps:
        options = ", ".join(f"{k}={_plain(v)}" for k, v in step.items() if k != "type")
        named.append(_type(step) + (f" ({options})" if options else ""))
    return ", then ".join(named)


def _type(part: dict[str, Any]) -> str:
    return str(part.get("type", "?"))


def _named(part: str) -> str:
    """Name an instant or a view in words, with its abbreviation."""
    words = {member.value: member.full_name for member in (*Instant, *View)}
    return f"{words[part].capitalize()} ({part})" if part in words else part


def _plain(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _date(text: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return ""
    if moment.tzinfo is None:
        return f"{moment:%d %B %Y, %H:%M}"
    return f"{moment.astimezone(timezone.utc):%d %B %Y, %H:%M} UTC"


def _safe(charts: Sequence[str]) -> list[Markup]:
    """Mark SVG that matplotlib wrote, which escapes its texts, as part of the page."""
    return [Markup(chart) for chart in charts]


def _number(value: Any, digits: int = 2) -> str:
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}"


def _full_name(structure: str) -> str:
    if structure == MEAN:
        return "mean of the structures"
    return next((s.full_name for s in Structure if s.short == structure), structure)


def _short_name(structure: str) -> str:
    return structure.upper() if structure in [s.short for s in Structure] else structure
