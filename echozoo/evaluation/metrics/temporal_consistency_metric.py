"""The metric that tests how steadily predictions move from frame to frame."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from echozoo.evaluation import courses_report
from echozoo.evaluation import temporal_report as report
from echozoo.evaluation.film_result import SIDES, FilmResult
from echozoo.evaluation.functional.attributes import columns, frame_attributes
from echozoo.evaluation.functional.courses import Course, course
from echozoo.evaluation.functional.disks import outline
from echozoo.evaluation.functional.temporal import FEWEST_FRAMES, judge
from echozoo.evaluation.limits import TemporalLimits, load_limits
from echozoo.evaluation.metrics.case_metric import CaseMetric, given_frames, given_note
from echozoo.evaluation.metrics.segmentation_metric import (
    ScoredClip,
    case_masks,
    merge_clips,
    predicted_labels,
)
from echozoo.evaluation.report import origin, write_content, write_rows
from echozoo.registry import METRICS


@METRICS.register_module()
class TemporalConsistencyMetric(CaseMetric):
    """Inconsistent frames (TCI) and films (bad cases) by the attributes of Painchaud et al.

    Stands beside `SegmentationMetric` in a config's ``test_evaluator``. Seven attributes of each
    frame's predicted label map are measured on the native grid, in mm, cm2 and degrees; a frame is
    inconsistent where one of them is too far from the mean of its neighbours', or cannot be
    measured (see `echozoo.evaluation.functional.temporal`). With structures "lv" alone four
    attributes are judged. Frames whose masks were given are passed over. Films of fewer than three
    frames (ED and ES stills), with frames missing between, or of unknown spacing cannot be judged:
    they are in no count, and said in one line. Frames that several clips show count once, as in
    `SegmentationMetric`.

    Beside the counts stands what shows whether a steady film still beats: the change of the LV's
    area from ED to ES and its error; and what needs no limits and no labels, and is measured of
    films of unknown spacing too: roughness of the area's curve and jitter of the outline (see
    `echozoo.evaluation.functional.courses`).

    The reference masks of films whose frames are all labelled are judged beside the predictions:
    their counts are the floor, and where they are not 0, the limits are not those of this data
    set. On generated films the limits of
    CAMUS say what an expert's outline of a real film would be forgiven; the films' own masks move
    far more smoothly (see docs/documents.md).

    Keys, under ``temporal/``: ``tci_frames tci_frames_ratio bad_sequences bad_sequences_ratio
    num_frames num_sequences num_unjudged_sequences num_failed_frames error_to_threshold
    reference_tci_frames reference_bad_sequences reference_error_to_threshold``, ``area_change_pp
    area_change_error_pp area_roughness_percent contour_jitter_mm contour_jitter_px`` and the
    reference's (``reference_area_change_pp`` …), and for each
    attribute ``lv_area/inconsistent_frames`` and ``lv_area/failed_frames``. Where no film
    can be judged, all are NaN, not 0, but for the numbers of frames and sequences.

    Args:
        limits: Bounds and thresholds: "camus", a JSON file of echozoo limits, or
            the content of one.
        report: Show the table, with intervals over patients, and write files.
        out_dir: Folder for ``temporal.json`` (definitions, limits with provenance, counts),
            ``temporal.csv`` (one row a film) and ``temporal_frames.csv`` (one row a frame, its
            attributes on both sides); None writes nothing. Needs ``report``.
        config_name: Noted in temporal.json.
        seed: Of the bootstrap over patients.
        n_resamples: Of the bootstrap over patients.
        prefix: Of the keys; "temporal" if None.

    Raises:
        ConfigError: The limits cannot be read.
    """

    default_prefix = "temporal"

    def __init__(self, limits: str | Mapping[str, Any] = "camus", **shared: Any) -> None:
        super().__init__(**shared)
        self.limits = load_limits(limits)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure the frames of a batch of clips; each leaves exactly one result.

        Raises:
            DataError: Masks are missing or do not fit the reference.
        """
        self.results.extend(measure_clip(sample) for sample in data_samples)

    def compute_metrics(self, results: list[ScoredClip]) -> dict[str, float]:
        """Judge the gathered films, on the first process."""
        films = judge_films(merge_clips(results), self.limits)
        films += films_without_frames(results, {film.sequence for film in films})
        judged = [film for film in films if not film.unjudged]
        keys = _judged_attributes(films, self.limits)
        counts = {side: report.count(judged, side) for side in SIDES}
        unjudged = dict(Counter(film.unjudged for film in films if film.unjudged))
        if self.report:
            spread = report.intervals(judged, self.n_resamples, self.seed)
            tables = [report.table(counts, spread, self.limits, keys)] if judged else []
            tables += [courses_report.table(films)] if any(film.courses for film in films) else []
            if tables:
                print_log("\n" + "\n\n".join(tables), logger="current")
            if unjudged:
                print_log(report.unjudged_line(unjudged, len(films)), logger="current")
            if note := given_note(results)[1]:
                print_log(f"temporal consistency: {note}", logger="current")
            if self.out_dir is not None:
                folder = Path(self.out_dir)
                write_rows(folder / "temporal.csv", report.sequence_rows(films, keys))
                write_rows(folder / "temporal_frames.csv", report.frame_rows(films, keys))
                content = report.as_content(counts, spread, self.limits, unjudged)
                content["courses"] = courses_report.as_content(films)
                head = {"config": self.config_name, **origin()}
                write_content(folder / "temporal.json", head | content)
        metrics = report.scalars(counts, keys, len(films) - len(judged))
        return metrics | courses_report.scalars(films)


def measure_clip(sample: dict[str, Any]) -> ScoredClip:
    """Measure the attributes of a clip's frames, predicted and of the reference masks.

    Args:
        sample: An `EchoDataSample` as a dict, predictions included.

    Returns:
        The clip; a frame's row holds the attributes by side, none where the spacing is unknown or
        the reference lacks a structure, and by side the area and outline of the LV (``courses``).

    Raises:
        DataError: Masks are missing or do not fit the reference.
    """
    _, labels, labelled = case_masks(sample)
    structures, spacing = sample["structures"], sample["spacing"]
    frames, given = tuple(int(frame) for frame in sample["frames"]), given_frames(sample)
    rows: dict[int, list[dict[str, Any]]] = {}
    for place, frame in enumerate(frames):
        if frame in rows or frame in given:
            continue
        maps = {"prediction": predicted_labels(sample, place)}
        if labelled[place].all():
            maps["reference"] = labels[place]
        rows[frame] = [
            {
                "patient": sample["patient"],
                "view": sample["view"],
                "sequence": sample["sequence"],
                "frame": frame,
                "instant": sample["instants"][place],
            }
            | {
                side: frame_attributes(maps[side], structures, spacing)
                if spacing is not None and side in maps
                else {}
                for side in SIDES
            }
            | {"courses": {side: _ventricle(one, sample) for side, one in maps.items()}}
            | {"unit": "px" if spacing is None else "mm"}
        ]
    return ScoredClip.of(sample, rows)


def _ventricle(labels: np.ndarray, sample: dict[str, Any]) -> tuple[float, np.ndarray | None]:
    """Area and outline of the LV in a label map (H, W); NaN and None where there is none."""
    if "lv" not in sample["structures"]:
        return math.nan, None
    mask = labels == sample["structures"].index("lv") + 1
    # Of unknown spacing, pixels stand for millimetres.
    dy, dx = sample["spacing"] or (1.0, 1.0)
    found = outline(mask, (dy, dx))
    return float(mask.sum()) * dy * dx or math.nan, found


def judge_films(rows: Iterable[dict[str, Any]], limits: TemporalLimits) -> list[FilmResult]:
    """Judge films by the attributes of their frames.

    Args:
        rows: As `measure_clip` makes them, each frame once, sorted by film and frame.
        limits: Bounds and thresholds.

    Returns:
        One result a film.
    """
    films = []
    for sequence, group in groupby(rows, key=lambda row: row["sequence"]):
        members = list(group)
        frames = tuple(row["frame"] for row in members)
        values = {side: columns([row[side] for row in members]) for side in SIDES}
        why = _unjudged(frames, values["prediction"], limits)
        sides = [] if why else [side for side in SIDES if values[side]]
        verdicts = {side: judge(values[side], limits.attributes) for side in sides}
        films.append(
            FilmResult(
                patient=members[0]["patient"],
                view=members[0]["view"],
                sequence=sequence,
                frames=frames,
                instants=tuple(row["instant"] for row in members),
                values=values,
                verdicts=verdicts,
                unjudged=why,
                courses=_courses(members),
                unit=members[0]["unit"],
            )
        )
    return films


def _courses(members: Sequence[dict[str, Any]]) -> dict[str, Course]:
    """The courses of both sides; of the reference where it is not labelled throughout, the change.

    A film with frames missing between has none but its change, either.
    """
    places = {row["instant"]: place for place, row in enumerate(members)}
    ends = (places["ED"], places["ES"]) if {"ED", "ES"} <= {*places} else None
    frames = [row["frame"] for row in members]
    whole = frames[-1] - frames[0] == len(frames) - 1
    found = {}
    for side in SIDES:
        seen = [row["courses"].get(side, (math.nan, None)) for row in members]
        areas, outlines = np.array([area for area, _ in seen]), [one for _, one in seen]
        if np.isfinite(areas).any():
            one = course(areas, outlines, ends)
            found[side] = one if whole else Course(one.area_change_percent, math.nan, math.nan)
    return found


def films_without_frames(clips: Iterable[ScoredClip], known: Container[str]) -> list[FilmResult]:
    """The films of which no frame could be measured: they are not judged, but there.

    Args:
        clips: As `measure_clip` makes them.
        known: Sequences of the other films.
    """
    absent = {clip.sequence: clip for clip in clips if clip.sequence not in known}
    nothing: dict[str, dict] = {side: {} for side in SIDES}
    why = "without a frame whose structures are all labelled"
    return [
        FilmResult(clip.patient, clip.view, sequence, (), (), nothing, {}, why)
        for sequence, clip in sorted(absent.items())
    ]


def _unjudged(frames: Sequence[int], values: Mapping[str, Any], limits: TemporalLimits) -> str:
    if len(frames) < FEWEST_FRAMES:
        return "of fewer than three frames (stills)"
    if frames[-1] - frames[0] != len(frames) - 1:
        return "with frames missing between"
    if not values:
        return "of unknown spacing, or without left ventricle and wall"
    if not set(values) & set(limits.attributes):
        return "without limits for their attributes"
    return ""


def _judged_attributes(films: Sequence[FilmResult], limits: TemporalLimits) -> list[str]:
    """The attributes of the judged films; of all films' where none is."""
    shown = [film for film in films if not film.unjudged] or films
    found = {key for film in shown for key in film.values["prediction"]}
    return [key for key in limits.attributes if key in found]
