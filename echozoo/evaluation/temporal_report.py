"""Temporal consistency of a data set's films: counts with denominators, files, a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from echozoo.evaluation.film_result import SIDES, FilmResult, courses_of
from echozoo.evaluation.functional import attributes
from echozoo.evaluation.functional.aggregate import CONFIDENCE, bootstrap_interval
from echozoo.evaluation.functional.attributes import ATTRIBUTES, BY_KEY
from echozoo.evaluation.functional.temporal import Consistency
from echozoo.evaluation.limits import TemporalLimits
from echozoo.evaluation.text_tables import as_text, text_table

DEFINITIONS = {
    "s, e": "attribute scaled by its bounds, s = (a - min) / (max - min); error of a frame against "
    "its neighbours, e = s_t - (s_t-1 + s_t+1) / 2, 0 for the first and last frame of a film; "
    "differences of angles are the shortest ones",
    "inconsistent_frames (TCI)": "frames with |e| > threshold in any attribute, or with an "
    "attribute that failed; of all frames of judged films, first and last included",
    "inconsistent_sequences (bad cases)": "films with an inconsistent frame, of judged films",
    "failed_frames": "frames with an attribute that cannot be measured: the structure is absent, "
    "smaller than 1 cm2, or too broken; their neighbours' errors in it are not known",
    "error_to_threshold": "mean of |e| / threshold over the frames and attributes of a film, then "
    "over films; failures are in no mean",
    "reference": "the same of the reference masks: what a perfect prediction would have",
    "unjudged": "films of fewer than three frames, with frames missing between, or of unknown "
    "spacing; in no count",
    "area_change": "percent of the LV's area at ED that is lost until ES; its error is in points",
    "area_roughness": "mean distance of a frame's LV area from the mean of its neighbours', in "
    "percent of the film's mean area",
    "contour_jitter": "mean distance of the LV's outline from half-way between its neighbours', in "
    "mm, of films of unknown spacing in pixels; constant speed has none",
    "low, high": f"{CONFIDENCE:.0%} percentile bootstrap over patients",
} | attributes.DEFINITIONS


def count(films: Sequence[FilmResult], side: str) -> dict[str, Any]:
    """Count what is inconsistent on one side.

    Args:
        films: Judged ones.
        side: "prediction" or "reference".

    Returns:
        ``frames sequences inconsistent_frames inconsistent_sequences failed_frames``, both
        ``..._ratio``, ``error_to_threshold``, and by ``attributes`` their ``inconsistent_frames``
        and ``failed_frames``. Without a film, counts but the first two are NaN: nothing was
        measured.
    """
    films = [film for film in films if side in film.verdicts]
    verdicts = [film.verdicts[side] for film in films]
    frames, sequences = sum(len(film.frames) for film in films), len(films)
    keys = dict.fromkeys(key for verdict in verdicts for key in verdict.inconsistent)

    def total(found: Callable[[Consistency], Any]) -> int | float:
        return int(sum(np.sum(found(v)) for v in verdicts)) if verdicts else float("nan")

    bad_frames = total(lambda v: v.frames)
    bad_sequences = total(lambda v: v.frames.any())
    errors = [v.error_to_threshold for v in verdicts if not math.isnan(v.error_to_threshold)]
    return {
        "frames": frames,
        "sequences": sequences,
        "inconsistent_frames": bad_frames,
        "inconsistent_frames_ratio": bad_frames / max(frames, 1),
        "inconsistent_sequences": bad_sequences,
        "inconsistent_sequences_ratio": bad_sequences / max(sequences, 1),
        "failed_frames": total(lambda v: v.failed_frames),
        "error_to_threshold": float(np.mean(errors)) if errors else float("nan"),
        "attributes": {
            key: {
                "inconsistent_frames": total(lambda v, key=key: v.inconsistent.get(key, False)),
                "failed_frames": total(lambda v, key=key: v.failed.get(key, False)),
            }
            for key in keys
        },
    }


def intervals(
    films: Sequence[FilmResult], n_resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals, over patients, of both ratios of the predictions.

    Args:
        films: Judged ones.
        n_resamples: Of the bootstrap; 0 leaves intervals NaN.
        seed: Of the bootstrap.

    Returns:
        (low, high) of ``inconsistent_frames_ratio`` and ``inconsistent_sequences_ratio``; NaN
        with fewer than two patients.
    """
    patients = {name: i for i, name in enumerate(sorted({film.patient for film in films}))}
    sums, counts = np.zeros((2, 2, len(patients)))
    for film in films:
        bad = film.verdicts["prediction"].frames
        sums[:, patients[film.patient]] += bad.sum(), bad.any()
        counts[:, patients[film.patient]] += bad.size, 1
    names = ("inconsistent_frames_ratio", "inconsistent_sequences_ratio")
    return {
        name: bootstrap_interval(sums[i : i + 1], counts[i : i + 1], n_resamples, seed)
        for i, name in enumerate(names)
    }


def scalars(
    counts: dict[str, dict[str, Any]], keys: Sequence[str], num_unjudged: int
) -> dict[str, float]:
    """Name the counts as metrics."""
    found, floor = (counts[side] for side in SIDES)
    metrics = {
        "tci_frames": found["inconsistent_frames"],
        "tci_frames_ratio": found["inconsistent_frames_ratio"],
        "bad_sequences": found["inconsistent_sequences"],
        "bad_sequences_ratio": found["inconsistent_sequences_ratio"],
        "num_frames": found["frames"],
        "num_sequences": found["sequences"],
        "num_unjudged_sequences": num_unjudged,
        "num_failed_frames": found["failed_frames"],
        "error_to_threshold": found["error_to_threshold"],
        "reference_tci_frames": floor["inconsistent_frames"],
        "reference_bad_sequences": floor["inconsistent_sequences"],
        "reference_error_to_threshold": floor["error_to_threshold"],
    }
    nothing = {"inconsistent_frames": float("nan"), "failed_frames": float("nan")}
    for key in keys:
        numbers = found["attributes"].get(key, nothing)
        metrics |= {f"{BY_KEY[key].name}/{name}": value for name, value in numbers.items()}
    return metrics


def sequence_rows(films: Sequence[FilmResult], keys: Sequence[str]) -> list[dict[str, Any]]:
    """One row a film for a CSV file, films that were not judged included, their counts empty."""
    rows = []
    for film in films:
        found, floor = (film.verdicts.get(side) for side in SIDES)
        row = {
            "patient": film.patient,
            "view": film.view,
            "sequence": film.sequence,
            "frames": len(film.frames),
            "unjudged": film.unjudged,
            "inconsistent_frames": found and int(found.frames.sum()),
            "failed_frames": found and int(found.failed_frames.sum()),
        }
        for key in keys:
            name = f"{BY_KEY[key].name}_inconsistent_frames"
            row[name] = found and int(np.sum(found.inconsistent.get(key, False)))
        row["error_to_threshold"] = found and found.error_to_threshold
        row |= courses_of(film)
        row["reference_inconsistent_frames"] = floor and int(floor.frames.sum())
        row["reference_error_to_threshold"] = floor and floor.error_to_threshold
        rows.append(row)
    return rows


def frame_rows(films: Sequence[FilmResult], keys: Sequence[str]) -> list[dict[str, Any]]:
    """One row a frame for a CSV file: its attributes on both sides, and for which it is bad."""
    rows = []
    for film in films:
        found = film.verdicts.get("prediction")
        bad_frames = found.inconsistent if found else {}
        for t, (frame, instant) in enumerate(zip(film.frames, film.instants, strict=True)):
            bad = [BY_KEY[key].name for key in keys if key in bad_frames and bad_frames[key][t]]
            row = {"sequence": film.sequence, "frame": frame, "instant": instant}
            row["inconsistent"] = bad
            for side, start in zip(SIDES, ("", "reference_"), strict=True):
                values = film.values[side]
                row |= {f"{start}{key}": float(values[key][t]) for key in keys if key in values}
            rows.append(row)
    columns = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in columns} for row in rows]


def as_content(
    counts: dict[str, dict[str, Any]],
    spread: dict[str, tuple[float, float]],
    limits: TemporalLimits,
    unjudged: dict[str, int],
) -> dict[str, Any]:
    """What a JSON file says: definitions, limits with provenance, counts of both sides.

    Args:
        counts: By side.
        spread: As `intervals` gives it.
        limits: Those used.
        unjudged: How many films could not be judged, by the reason.
    """
    return {
        "definitions": DEFINITIONS,
        "limits": limits.as_content(),
        "unjudged_sequences": unjudged,
        **counts,
        "intervals": {
            name: dict(zip(("low", "high"), b, strict=True)) for name, b in spread.items()
        },
    }


def table(
    counts: dict[str, dict[str, Any]],
    spread: dict[str, tuple[float, float]],
    limits: TemporalLimits,
    keys: Sequence[str],
) -> str:
    """Lay out the counts as text, denominators and the limits' provenance with them.

    Returns:
        Plain text, some 100 characters wide but for its last line.
    """
    found, floor = (counts[side] for side in SIDES)
    title = f"temporal consistency, {found['sequences']} films, {found['frames']} frames"
    sheet = text_table(title, "", "tolerated", "inconsistent", "%", "failed", "reference")
    for what, name in (("frames (TCI)", "frames"), ("films (bad cases)", "sequences")):
        low, high = (100 * limit for limit in spread[f"inconsistent_{name}_ratio"])
        share = f"{100 * found[f'inconsistent_{name}_ratio']:.1f}"
        sheet.add_row(
            what,
            "",
            f"{found[f'inconsistent_{name}']} of {found[name]}",
            share if math.isnan(low) else f"{share}\n{low:.1f}-{high:.1f}",
            str(found["failed_frames"]) if name == "frames" else "",
            f"{floor[f'inconsistent_{name}']} of {floor[name]}",
        )
    errors = (f"{side['error_to_threshold']:.3f}" for side in (found, floor))
    sheet.add_row("mean |error| / threshold", "", next(errors), "", "", next(errors))
    sheet.add_section()
    for key in keys:
        numbers = found["attributes"][key]
        sheet.add_row(
            BY_KEY[key].name,
            f"{limits.attributes[key].tolerance:.2f} {BY_KEY[key].unit}",
            str(numbers["inconsistent_frames"]),
            f"{100 * numbers['inconsistent_frames'] / found['frames']:.1f}",
            str(numbers["failed_frames"]),
            str(floor["attributes"].get(key, {}).get("inconsistent_frames", "-")),
        )
    return "\n".join([as_text(sheet), *_notes(floor, limits, keys)])


def _notes(floor: dict[str, Any], limits: TemporalLimits, keys: Sequence[str]) -> list[str]:
    notes = [
        "inconsistent: further than tolerated from the mean of the frames before and after, or "
        "failed (not measurable); reference: the same of the reference masks"
    ]
    left_out = [one.name for one in ATTRIBUTES if one.key not in keys]
    if left_out:
        notes.append(f"not judged, for want of a structure or of limits: {', '.join(left_out)}")
    if floor["inconsistent_frames"]:
        notes.append(
            "the reference masks are not all within these limits: read the counts beside theirs "
            "(limits of a data set's own: echozoo limits)"
        )
    return [*notes, f"limits {limits.name}: {limits.provenance}"]


def unjudged_line(unjudged: dict[str, int], total: int) -> str:
    """Say in one line how many films could not be judged, and why."""
    reasons = "; ".join(f"{count} {reason}" for reason, count in unjudged.items())
    return f"temporal consistency: {sum(unjudged.values())} of {total} films not judged: {reasons}"
