"""Tables over all films of a run: films.csv, studies.csv, left_out.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echozoo.errors import StorageError
from echozoo.studies.exams import FilmResult
from echozoo.whole_files import written_whole

FILMS_FILE, STUDIES_FILE, LEFT_OUT_FILE = "films.csv", "studies.csv", "left_out.csv"

_FILM_COLUMNS = (
    *("film", "patient", "view", "view_certainty", "frames", "ed_frame", "es_frame", "method"),
    *("ef_percent", "edv_ml", "esv_ml", "certainty", "withheld", "beats", "beats_ef_percent"),
    *("gls_percent", "la_es_ml", "flagged_frames", "spacing_mm", "sector", "file", "notes"),
)
_STUDY_COLUMNS = (
    *("study", "patient", "paired", "method", "ef_percent", "edv_ml", "esv_ml", "certainty"),
    *("withheld", "sources", "not_chosen"),
)
_LEFT_OUT_COLUMNS = ("file", "what", "reason")


def film_row(film: FilmResult) -> dict[str, Any]:
    """A film's row of films.csv."""
    summary = film.summary
    place, size = summary["sector"]["place"], summary["sector"]["size"]
    return {key: summary.get(key) for key in _FILM_COLUMNS} | {
        "film": film.name,
        "beats": len(summary["beats"]),
        "beats_ef_percent": " ".join(_number(beat["ef_percent"]) for beat in summary["beats"]),
        "la_es_ml": (summary.get("la_volume_ml") or {}).get("ES"),
        "flagged_frames": len(summary["flagged_frames"]),
        "spacing_mm": " ".join(map(_number, summary["spacing_mm"] or ())),
        "sector": f"{size[1]}x{size[0]}+{place[1]}+{place[0]}",
        "notes": "; ".join(summary["notes"]),
    }


def study_row(place: str, study: Mapping[str, Any]) -> dict[str, Any]:
    """An exam's row of studies.csv."""
    sources = {view: dict.fromkeys(one.values()) for view, one in study.get("sources", {}).items()}
    return {key: study.get(key) for key in _STUDY_COLUMNS} | {
        "study": place,
        "sources": "; ".join(f"{view}: {', '.join(names)}" for view, names in sources.items()),
        "not_chosen": ", ".join(study.get("not_chosen", ())),
    }


def write_tables(
    out: Path,
    films: Sequence[FilmResult],
    studies: Mapping[str, Mapping[str, Any]],
    left_out: Sequence[tuple[str, str]],
    failed: Sequence[tuple[str, str]],
) -> None:
    """Write the three tables.

    Args:
        out: Their folder.
        films: Results of all films that are done.
        studies: What `measure_exam` returned, by the place of its JSON.
        left_out: Name and reason of each file that is no film.
        failed: Likewise of each film that failed.

    Raises:
        StorageError: They cannot be written.
    """
    others = [
        {"file": name, "what": what, "reason": reason}
        for what, files in (("left out", left_out), ("failed", failed))
        for name, reason in files
    ]
    for name, columns, rows in (
        (FILMS_FILE, _FILM_COLUMNS, [film_row(film) for film in films]),
        (STUDIES_FILE, _STUDY_COLUMNS, [study_row(*item) for item in studies.items()]),
        (LEFT_OUT_FILE, _LEFT_OUT_COLUMNS, others),
    ):
        write_text(out / name, _csv(columns, rows))


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        with written_whole(path) as part:
            part.write_text(text, "utf-8", errors="backslashreplace")
    except OSError as error:
        raise StorageError.of(path, error) from error


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        table.writerow(_number(row[column]) for column in columns)
    return text.getvalue()


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
