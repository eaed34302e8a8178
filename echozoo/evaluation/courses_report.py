"""What films' courses come to over a data set: means with their denominators, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from echozoo.evaluation.film_result import FilmResult, courses_of
from echozoo.evaluation.text_tables import as_text, text_table

_ROWS = {
    "area_change_pp": "LV area lost from ED to ES, % of ED",
    "area_change_error_pp": "its error a film, points",
    "area_roughness_percent": "roughness of the LV's area curve, %",
    "contour_jitter_mm": "jitter of the LV's outline, mm",
    "contour_jitter_px": "jitter of the LV's outline, px",
}


def scalars(films: Sequence[FilmResult]) -> dict[str, float]:
    """Means over the films that have a number; NaN where none has."""
    rows = [courses_of(film) for film in films]
    keys = [start + key for key in _ROWS for start in ("", "reference_")]
    return {key: _mean([row[key] for row in rows]) for key in keys if not rows or key in rows[0]}


def as_content(films: Sequence[FilmResult]) -> dict[str, Any]:
    """The means and how many films each is of, for a JSON file."""
    rows = [courses_of(film) for film in films]
    return {
        key: {"mean": value, "films": _count([row[key] for row in rows])}
        for key, value in scalars(films).items()
    }


def table(films: Sequence[FilmResult]) -> str:
    """Lay the means out as text; what no film has is left out."""
    rows = [courses_of(film) for film in films]
    title = "courses of the LV, means over films"
    sheet = text_table(title, "", "predicted", "reference", "films")
    for key, name in _ROWS.items():
        mine = [row[key] for row in rows]
        true = [row.get(f"reference_{key}", np.nan) for row in rows]
        if _count(mine):
            sheet.add_row(name, _shown(mine), _shown(true), str(_count(mine)))
    return as_text(sheet)


def _count(values: Sequence[float]) -> int:
    return int(np.isfinite(np.asarray(values, float)).sum())


def _mean(values: Sequence[float]) -> float:
    return float(np.nanmean(values)) if _count(values) else float("nan")


def _shown(values: Sequence[float]) -> str:
    return f"{_mean(values):.2f}" if _count(values) else "-"
