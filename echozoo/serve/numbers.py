"""What the page shows of a film's measures: the curve, its marks, ejection fraction and volumes."""

from __future__ import annotations

from typing import Any

import numpy as np

from echozoo.apis.measuring import Measures

_METHOD = (
    "Method of disks from this view alone, taken as round; the biplane method needs both apical "
    "views. Not for diagnosis."
)
_NO_SPACING = "No pixel spacing is known: areas in pixels, no volumes. Not for diagnosis."
_UNITS = {"cm2": "cm²", "px2": "px²"}


def shown(measures: Measures, unfinished: bool) -> dict[str, Any]:
    """Say what the page shows.

    Args:
        measures: What is measured so far.
        unfinished: Whether a job is still adding frames: ED and ES would jump.

    Returns:
        ``unit`` of areas, ``areas`` by structure (None where nobody looked), ``marks`` (ED and
        ES: frame and text), ``numbers`` (name and value as text, frames counted from 1) and
        ``method``, one line.
    """
    areas = {
        name: [None if np.isnan(value) else float(value) for value in column]
        for name, column in zip(measures.structures, measures.areas.T, strict=True)
    }
    marks, numbers = [], []
    if measures.ed is not None and not unfinished:
        marks = [{"frame": measures.ed, "text": "ED"}, {"frame": measures.es, "text": "ES"}]
        numbers = [
            *_volumes(measures),
            {"name": "ED", "value": f"frame {measures.ed + 1}"},
            {"name": "ES", "value": f"frame {measures.es + 1}"},
        ]
    return {
        "unit": _UNITS[measures.unit],
        "areas": areas,
        "marks": marks,
        "numbers": numbers,
        "method": _METHOD if measures.spacing else _NO_SPACING,
    }


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
