"""What a table can show of a test run, and how each number comes from the run's files.

Every quantity is a mean over cases. A case belongs to a patient and to a group (a structure, where
structures count alike) and brings a numerator and a denominator: a Dice counts over one image, the
inconsistent frames of a film over its frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from echozoo.evaluation.functional.aggregate import ABSENT, EMPTY

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """What one case adds to a mean; ``amount`` is NaN where it was not to be measured."""

    patient: str
    group: str
    amount: float
    weight: float = 1.0


@dataclass(frozen=True)
class Quantity:
    """A number of a table.

    Attributes:
        heading: Of its column, with the unit.
        meaning: Said under the table.
        file: "results", "temporal" or "ef": the CSV of a run that it is computed from.
        select: From the file's rows to cases by a key that is the same in every run.
        decimals: Shown.
        factor: From the file's unit to the one shown.
        share: Shown as a number out of a number.
        structure: The only structure that it is about; None for all.
    """

    heading: str
    meaning: str
    file: str
    select: Callable[[Rows], Iterator[tuple[Hashable, Case]]]
    decimals: int = 2
    factor: float = 1.0
    share: bool = False
    structure: str | None = None


def _metric(name: str, structure: str | None = None) -> Callable:
    def select(rows: Rows) -> Iterator[tuple[Hashable, Case]]:
        for row in rows:
            if row["status"] != ABSENT and structure in (None, row["structure"]):
                key = row["sequence"], row["frame"], row["structure"]
                yield key, Case(row["patient"], row["structure"], row.get(name, math.nan))

    return select


def _empty(rows: Rows) -> Iterator[tuple[Hashable, Case]]:
    for row in rows:
        if row["status"] != ABSENT:
            key = row["sequence"], row["frame"], row["structure"]
            yield key, Case(row["patient"], "", float(row["status"] == EMPTY))


def _judged(rows: Rows) -> Iterator[dict[str, Any]]:
    # Films that cannot be judged (stills, unknown spacing) have empty counts.
    return (row for row in rows if not math.isnan(row["inconsistent_frames"]))


def _inconsistent_frames(rows: Rows) -> Iterator[tuple[Hashable, Case]]:
    for row in _judged(rows):
        yield row["sequence"], Case(row["patient"], "", row["inconsistent_frames"], row["frames"])


def _bad_sequences(rows: Rows) -> Iterator[tuple[Hashable, Case]]:
    for row in _judged(rows):
        yield row["sequence"], Case(row["patient"], "", float(row["inconsistent_frames"] > 0))


def _course(name: str) -> Callable:
    """A number of each film's course; older runs have none."""

    def select(rows: Rows) -> Iterator[tuple[Hashable, Case]]:
        for row in rows:
            value = row.get(name, math.nan)
            if not math.isnan(value):
                yield row["sequence"], Case(row["patient"], "", value)

    return select


def _ef_error(rows: Rows) -> Iterator[tuple[Hashable, Case]]:
    for row in rows:
        error = abs(row["ef_percent"] - row["reference_ef_percent"])
        if not math.isnan(error):
            yield row["patient"], Case(row["patient"], "", error)


def _error_to_threshold(rows: Rows) -> Iterator[tuple[Hashable, Case]]:
    for row in _judged(rows):
        yield row["sequence"], Case(row["patient"], "", row["error_to_threshold"])


def _percent(metric: str, heading: str, meaning: str) -> dict[str, Quantity]:
    """A fraction in percent: the mean of the structures' means, and each structure by itself."""
    found = {
        metric: Quantity(f"{heading}, %", meaning, "results", _metric(metric), factor=100),
    }
    for structure in ("lv", "myo", "la"):
        found[f"{metric}_{structure}"] = Quantity(
            f"{heading} {structure}, %",
            meaning,
            "results",
            _metric(metric, structure),
            factor=100,
            structure=structure,
        )
    return found


def _distance(metric: str, heading: str, meaning: str) -> dict[str, Quantity]:
    return {metric: Quantity(heading, meaning, "results", _metric(metric))}


QUANTITIES: dict[str, Quantity] = {
    **_percent("dice", "Dice", "2 |P and R| / (|P| + |R|) an image; empty predictions left out"),
    **_percent("iou", "IoU", "|P and R| / |P or R| an image; empty predictions left out"),
    **_percent(
        "dice_with_empty_as_0",
        "Dice (empty = 0)",
        "Dice, with 0 where the structure is there and the prediction is empty",
    ),
    **_distance("hd_mm", "HD, mm", "Hausdorff distance on the native grid"),
    **_distance(
        "hd95_mm",
        "HD95, mm",
        "larger of the two directed 95th percentiles of the boundary distances, on the native grid",
    ),
    **_distance("assd_mm", "ASSD, mm", "mean of all boundary distances, on the native grid"),
    **_distance("hd_px", "HD, px", "Hausdorff distance in pixels, both masks resized to 256 x 256"),
    "tci": Quantity(
        "TCI, frames",
        "frames inconsistent with their neighbours in at least one attribute, of the frames judged",
        "temporal",
        _inconsistent_frames,
        share=True,
    ),
    "area_change": Quantity(
        "error of area change, points",
        "difference of the percentage of the LV's area that is lost from ED to ES, a film",
        "temporal",
        _course("area_change_error_pp"),
    ),
    "ef_error": Quantity(
        "error of the EF, points",
        "difference from the reference masks' EF, a patient whose masks have one",
        "ef",
        _ef_error,
    ),
    "roughness": Quantity(
        "roughness of the area, %",
        "mean distance of the LV's area from the mean of its neighbours', of its mean, a film",
        "temporal",
        _course("area_roughness_percent"),
    ),
    "jitter": Quantity(
        "jitter, mm",
        "mean distance of outlines from half-way between those before and after, a film",
        "temporal",
        _course("contour_jitter_mm"),
    ),
    "bad_sequences": Quantity(
        "bad sequences",
        "sequences with at least one inconsistent frame, of the sequences judged",
        "temporal",
        _bad_sequences,
        share=True,
    ),
    "error_to_threshold": Quantity(
        "error / threshold",
        "mean over frames and attributes of the distance from the neighbours' mean, in thresholds",
        "temporal",
        _error_to_threshold,
        decimals=3,
    ),
    "empty": Quantity(
        "empty",
        "structures that are there and were predicted empty, of all that are there",
        "results",
        _empty,
        share=True,
    ),
}
