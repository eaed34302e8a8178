"""What the page shows of a film's measures: the curve, its marks, ejection fraction and volumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from typing import Any

import numpy as np

from echozoo.apis.measuring import Measures
from echozoo.datasets.anatomy import Structure
from echozoo.postprocessing import MEANINGS
from echozoo.serve.workspace import Workspace

_METHOD = "Method of disks from this view alone, taken as round. Not for diagnosis."
_BIPLANE = "Biplane: method of disks from both views, {}. Not for diagnosis."
_NO_SPACING = "No pixel spacing is known: areas in pixels, no volumes. Not for diagnosis."
_UNITS = {"cm2": "cm²", "px2": "px²"}
_TITLES = {structure.short: structure.full_name for structure in Structure}
_OF_FILM = ("method", "ef_percent", "edv_ml", "esv_ml", "withheld")


def shown(measures: Measures, exam: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Say what the page shows.

    Args:
        measures: What is measured so far.
        exam: What `measure_exam` says of the exam.
        workspace: The film. While a job is still adding frames to it, ED and ES would jump: they
            are left out.

    Returns:
        ``unit`` of areas, ``areas`` by structure (None where nobody looked), ``marks`` (ED and
        ES: frame and text), ``numbers`` (name and value as text, frames counted from 1),
        ``method``, one line, ``flags`` by frame in words, ``corrected`` frames, the ``instants``
        that were set, and how many steps there are to ``undo`` and to ``redo``.
    """
    areas = {
        name: [None if np.isnan(value) else float(value) for value in column]
        for name, column in zip(measures.structures, measures.areas.T, strict=True)
    }
    choices = workspace.choices
    told = {"ED": choices.ed, "ES": choices.es}
    marks, numbers = [], []
    if not workspace.busy and measures.ed is not None:
        found = {"ED": measures.ed, "ES": measures.es}
        marks = [{"frame": frame, "text": name} for name, frame in found.items()]
        numbers = [*_volumes(measures), *_biplane(exam)]
        for name, frame in found.items():
            how = ", set" if told[name] is not None else ""
            numbers.append({"name": name, "value": f"frame {frame + 1}{how}"})
    elif not workspace.busy:
        # Told and not found: the frame shows no ventricle.
        lost = [name for name, frame in told.items() if frame is not None]
        numbers = [
            {"name": name, "value": f"frame {told[name] + 1}, set; no EF: segment ED and ES"}
            for name in lost
        ]
    return {
        "unit": _UNITS[measures.unit],
        "areas": areas,
        "marks": marks,
        "numbers": numbers,
        "method": _method(measures, exam),
        "flags": [[_in_words(flag) for flag in flags] for flags in measures.flags],
        "corrected": sorted(workspace.masks.corrected),
        "instants": {"ed": choices.ed, "es": choices.es},
        **workspace.steps(),
    }


def table(measures: Measures, exam: dict[str, Any], corrected: Collection[int]) -> str:
    """A row a frame, as CSV: the columns of ``frames.csv``, and after them what is of the film.

    Those are ``corrected`` (1 where somebody clicked or drew), the columns of ``films.csv`` for EF
    and volumes, and the same of the whole exam, as ``studies.csv`` has them, with ``study_`` before
    their names; on every row.
    """
    frames = list(csv.reader(io.StringIO(measures.table())))
    ef = measures.ef
    of_film = {
        "method": ef and ef.method,
        "ef_percent": ef and ef.ef_percent,
        "edv_ml": ef and ef.edv_ml,
        "esv_ml": ef and ef.esv_ml,
        "withheld": measures.withheld,
    }
    values = [_cell(of_film[name]) for name in _OF_FILM]
    values += [_cell(exam.get(name)) for name in _OF_FILM]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    studies = (f"study_{name}" for name in _OF_FILM)
    writer.writerow([*frames[0], "corrected", *_OF_FILM, *studies])
    for frame, row in enumerate(frames[1:]):
        writer.writerow([*row, int(frame in corrected), *values])
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return "" if value is None else str(value)


def _in_words(flag: str) -> str:
    name, _, what = flag.partition(":")
    return f"{_TITLES[name]}: {MEANINGS[what]}"


def _method(measures: Measures, exam: dict[str, Any]) -> str:
    if measures.spacing is None:
        return _NO_SPACING
    if exam["method"] == "biplane":
        sources = (" and ".join(dict.fromkeys(one.values())) for one in exam["sources"].values())
        return _BIPLANE.format(" with ".join(sources))
    return _METHOD


def _volumes(measures: Measures) -> list[dict[str, str]]:
    found = measures.ef
    if found is None:
        return [{"name": "EF withheld", "value": measures.withheld}] if measures.withheld else []
    fraction = {"name": "Ejection fraction", "value": f"{found.ef_percent:.0f} %"}
    if measures.spacing is None:
        return [fraction]
    return [
        fraction,
        {"name": "EDV", "value": f"{found.edv_ml:.0f} ml"},
        {"name": "ESV", "value": f"{found.esv_ml:.0f} ml"},
    ]


def _biplane(exam: dict[str, Any]) -> list[dict[str, str]]:
    """The exam's, where both of its views are measured."""
    if exam["method"] != "biplane":
        return []
    return [
        {"name": "Biplane EF", "value": f"{exam['ef_percent']:.0f} %"},
        {"name": "Biplane EDV", "value": f"{exam['edv_ml']:.0f} ml"},
        {"name": "Biplane ESV", "value": f"{exam['esv_ml']:.0f} ml"},
    ]
