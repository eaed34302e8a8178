"""What became of one film whose steadiness was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from echozoo.evaluation.functional.courses import Course
from echozoo.evaluation.functional.temporal import Consistency

SIDES = ("prediction", "reference")


@dataclass(frozen=True)
class FilmResult:
    """The attributes of one film, predicted and of the reference masks, and their verdicts."""

    patient: str
    view: str
    sequence: str
    frames: tuple[int, ...]
    instants: tuple[str, ...]
    values: dict[str, dict[str, np.ndarray]]
    """Side ("prediction", "reference"), then attribute: (T,)."""
    verdicts: dict[str, Consistency]
    """By side; empty where the film cannot be judged."""
    unjudged: str = ""
    """Why it cannot be judged."""
    courses: dict[str, Course] = field(default_factory=dict)
    """By side, where a ventricle was found."""
    unit: str = "mm"
    """Of the courses' jitter."""


def courses_of(film: FilmResult) -> dict[str, float]:
    """A film's courses as columns; an error where both sides have a change."""
    row = {}
    nothing = Course(*(math.nan,) * 3)
    for side, start in zip(SIDES, ("", "reference_"), strict=True):
        change, rough, jitter = film.courses.get(side, nothing)
        row |= {f"{start}area_change_pp": change, f"{start}area_roughness_percent": rough}
        for unit in ("mm", "px"):
            row[f"{start}contour_jitter_{unit}"] = jitter if unit == film.unit else math.nan
    error = abs(row["area_change_pp"] - row["reference_area_change_pp"])
    return {"area_change_error_pp": error} | row
