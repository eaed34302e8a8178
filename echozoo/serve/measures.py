"""What the masks of a film say: areas, end diastole and end systole, ejection fraction."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from echozoo.datasets.anatomy import Structure
from echozoo.errors import DataError
from echozoo.evaluation.functional.ejection_fraction import ejection_fraction, find_ed_es
from echozoo.serve.workspace import Workspace

_MM2_PER_CM2 = 100.0
_METHOD = (
    "Method of disks from this view alone, taken as round; the biplane method needs both apical "
    "views. Not for diagnosis."
)
_NO_SPACING = "No pixel spacing is known: areas in pixels, no volumes. Not for diagnosis."


def measure(workspace: Workspace) -> dict[str, Any]:
    """Measure everything that is segmented so far.

    Args:
        workspace: The film with its masks.

    Returns:
        ``unit`` of areas, ``areas`` by structure (None where there is no mask), ``marks`` (ED and
        ES: frame and text), ``numbers`` (name and value as text) and ``method``, one line.
    """
    areas, unit = _areas(workspace)
    lines = {
        structure.short: [None if np.isnan(value) else float(value) for value in column]
        for structure, column in zip(workspace.masks.structures, areas.T, strict=True)
    }
    instants = find_instants(workspace)
    marks, numbers = [], []
    if instants:
        marks = [{"frame": f, "text": n} for f, n in zip(instants, ("ED", "ES"), strict=True)]
        numbers = [
            *_volumes(workspace, instants),
            {"name": "ED", "value": f"frame {instants[0] + 1}"},
            {"name": "ES", "value": f"frame {instants[1] + 1}"},
        ]
    method = _METHOD if workspace.film.spacing else _NO_SPACING
    return {"unit": unit, "areas": lines, "marks": marks, "numbers": numbers, "method": method}


def find_instants(workspace: Workspace) -> tuple[int, int] | None:
    """ED and ES (frames from 0) by the area of the left ventricle.

    Returns:
        None where too few frames have one, or while a job is still adding some.
    """
    structures = workspace.masks.structures
    if Structure.LV not in structures or workspace.busy:
        return None
    areas, _ = _areas(workspace)
    area = areas[:, structures.index(Structure.LV)]
    known = np.flatnonzero(area > 0)
    try:
        instants = find_ed_es(area)
    except DataError:
        return None
    # Between frames that were segmented by hand the curve is a guess: take the nearest of them.
    ed, es = (int(known[np.argmin(np.abs(known - frame))]) for frame in instants)
    return (ed, es) if ed != es else None


def table(workspace: Workspace) -> str:
    """The areas of every frame as CSV, frames counted from 1 as on the page."""
    areas, unit = _areas(workspace)
    unit = {"cm²": "cm2", "px²": "px2"}[unit]
    structures: Sequence[Structure] = workspace.masks.structures
    instants = dict(zip(find_instants(workspace) or (), ("ED", "ES"), strict=False))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["frame", "time_ms", "instant", *(f"{s.short}_area_{unit}" for s in structures)]
    )
    step = workspace.film.frame_time_ms
    for frame, row in enumerate(areas):
        time = "" if step is None else f"{frame * step:.1f}"
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in row]
        writer.writerow([frame + 1, time, instants.get(frame, ""), *cells])
    return text.getvalue()


def _areas(workspace: Workspace) -> tuple[np.ndarray, str]:
    """Areas (T, K), NaN where there is no mask or an empty one, and their unit."""
    pixels = workspace.masks.pixels.astype(float)
    pixels[pixels <= 0] = np.nan
    spacing = workspace.film.spacing
    if spacing is None:
        return pixels, "px²"
    return pixels * (spacing[0] * spacing[1] / _MM2_PER_CM2), "cm²"


def _volumes(workspace: Workspace, instants: tuple[int, int]) -> list[dict[str, str]]:
    spacing = workspace.film.spacing
    if spacing is None:
        return []
    lv = workspace.masks.structures.index(Structure.LV)
    masks = tuple(workspace.masks.frame(frame)[lv] for frame in instants)
    # Which view it is does not matter to the method.
    found = ejection_fraction(None, masks, (None, spacing))
    if not np.isfinite(found.ef_percent):
        return []
    return [
        {"name": "Ejection fraction", "value": f"{found.ef_percent:.0f} %"},
        {"name": "EDV", "value": f"{found.edv_ml:.0f} ml"},
        {"name": "ESV", "value": f"{found.esv_ml:.0f} ml"},
    ]
