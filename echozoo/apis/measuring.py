"""Numbers of a film, from its label maps: what the tool, the page and `EchoInferencer` measure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from echozoo.apis.views import View, view_of
from echozoo.datasets.anatomy import Structure, choose_structures, label_table
from echozoo.errors import DataError
from echozoo.evaluation.functional.disks import Disks, chamber_area, disks
from echozoo.evaluation.functional.ejection_fraction import (
    EjectionFraction,
    ejection_fraction_of_disks,
    find_ed_es,
    lv_volume,
)
from echozoo.films.film import EchoFilm
from echozoo.postprocessing import film_flags, frame_flags

_LV = Structure.LV.short


@dataclass(frozen=True)
class FrameMeasures:
    """What is measured in one frame with K structures.

    Attributes:
        pixels: (K,) of each structure, NaN where nobody looked for it.
        flags: What is implausible in the frame by itself.
        disks: Of the left ventricle, None where it or the spacing is unknown.
        chamber: Pixels of the part of the left ventricle that its disks are cut from, by which ED
            and ES are found; NaN where nobody looked for it.
    """

    pixels: np.ndarray
    flags: list[str]
    disks: Disks | None = None
    chamber: float = math.nan


@dataclass
class Measures:
    """What is measured in a film of T frames with K structures.

    Attributes:
        structures: Short names.
        view: "2CH", "4CH", or None where it is not known.
        spacing: (dy, dx) mm, or None.
        frame_time_ms: From one frame to the next, or None.
        frame_times_ms: When each begins (T,), where that is uneven.
        areas: (T, K) in cm², in pixels where the spacing is unknown; NaN where nobody looked.
        volumes_ml: (T,) of the left ventricle by the method of disks in this view alone; None
            where the spacing or the structure is unknown.
        flags: What is implausible in each frame.
        ed, es: Frames of end diastole and end systole, None where they cannot be told.
        ef: Volumes and ejection fraction of this view alone, None where unknown.
        ed_disks, es_disks: The disks at ED and ES; for a still, both are its own.
    """

    structures: tuple[str, ...]
    view: str | None
    spacing: tuple[float, float] | None
    frame_time_ms: float | None
    areas: np.ndarray
    volumes_ml: np.ndarray | None = None
    flags: list[list[str]] = field(default_factory=list)
    ed: int | None = None
    es: int | None = None
    ef: EjectionFraction | None = None
    ed_disks: Disks | None = None
    es_disks: Disks | None = None
    notes: list[str] = field(default_factory=list)
    frame_times_ms: np.ndarray | None = None

    @property
    def unit(self) -> str:
        """Unit of the areas: "cm2" or "px2"."""
        return "cm2" if self.spacing else "px2"

    def instant(self, frame: int) -> str:
        """Name the instant of a frame: "ED", "ES" or nothing."""
        return "ED" if frame == self.ed else "ES" if frame == self.es else ""

    def table(self) -> str:
        """A row a frame, counted from 0, as CSV: time, areas, volume, what is implausible."""
        areas = [f"{name}_area_{self.unit}" for name in self.structures]
        volume = ["lv_volume_ml"] if self.volumes_ml is not None else []
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["frame", "time_ms", "instant", *areas, *volume, "flags"])
        for frame, row in enumerate(self.areas):
            time = frame * self.frame_time_ms if self.frame_time_ms else None
            if self.frame_times_ms is not None:
                time = float(self.frame_times_ms[frame])
            volumes = [self.volumes_ml[frame]] if volume else []
            numbers = [_cell(value) for value in (*row, *volumes)]
            flags = " ".join(self.flags[frame])
            table.writerow([frame, _cell(time), self.instant(frame), *numbers, flags])
        return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def measure_frame(
    labels: np.ndarray,
    structures: Sequence[str],
    spacing: tuple[float, float] | None,
    sought: Collection[str] | None = None,
) -> FrameMeasures:
    """Measure one frame.

    Args:
        labels: (H, W) with CAMUS's labels.
        structures: Short names of the film's K structures.
        spacing: (dy, dx) mm, or None.
        sought: Those that were looked for in this frame; all where None.
    """
    sought = structures if sought is None else sought
    chosen = choose_structures(structures)
    counts = np.bincount(labels.ravel(), minlength=max(Structure) + 1)
    pixels = [counts[one] if one.short in sought else math.nan for one in chosen]
    flags = frame_flags(label_table(structures)[labels], structures, spacing)
    # Where nobody looked for the wall, a cavity lies against background everywhere.
    wall = Structure.MYO.short in sought
    return FrameMeasures(
        pixels=np.array(pixels, float),
        flags=[flag for flag in flags if wall or flag != f"{_LV}:open"],
        disks=disks(labels == Structure.LV, spacing) if spacing and _LV in sought else None,
        chamber=chamber_area(labels == Structure.LV) if _LV in sought else math.nan,
    )


def measure_film(
    film: EchoFilm,
    structures: Sequence[str],
    frames: Sequence[FrameMeasures | None],
    view: View | None = None,
) -> Measures:
    """Measure a film.

    Args:
        film: The film.
        structures: Short names of the K structures that were looked for.
        frames: What `measure_frame` found in each of the T frames, None where nobody looked.
        view: What `find_view` found; None takes what the film's name says.
    """
    view = View(view_of(film.name)) if view is None else view
    nothing = np.full(len(structures), math.nan)
    pixels = np.array([nothing if one is None else one.pixels for one in frames])  # (T, K)
    dy, dx = film.spacing or (10.0, 10.0)
    measures = Measures(
        structures=tuple(structures),
        view=view.name,
        notes=list(view.notes),
        spacing=film.spacing,
        frame_time_ms=film.frame_time_ms,
        frame_times_ms=film.frame_times_ms,
        areas=pixels * dy * dx / 100,  # cm²
        flags=[[] if one is None else list(one.flags) for one in frames],
    )
    for k, name in enumerate(structures):
        known = np.flatnonzero(~np.isnan(pixels[:, k]))
        found = film_flags(pixels[known, k], [name], known.tolist())
        for frame, flags in zip(known, found, strict=True):
            measures.flags[frame] += flags
    sections = [None if one is None else one.disks for one in frames]
    if any(sections):
        volumes = [math.nan if one is None else lv_volume(one) for one in sections]
        measures.volumes_ml = np.array(volumes)
    if _LV in structures:
        chambers = np.array([math.nan if one is None else one.chamber for one in frames])
        _find_phases(measures, sections, chambers)
    return measures


def _find_phases(measures: Measures, sections: Sequence[Disks | None], areas: np.ndarray) -> None:
    if len(sections) == 1:
        measures.ed_disks = measures.es_disks = sections[0]
        return
    known = np.flatnonzero(areas > 0)
    try:
        # Between frames that were segmented the curve is a guess: the nearest of them counts.
        ed, es = (int(known[np.argmin(abs(known - place))]) for place in find_ed_es(areas))
    except DataError as error:
        measures.notes.append(str(error))
        return
    if ed == es:
        measures.notes.append(f"frame {ed} is nearest to both ED and ES: no ED and no ES")
        return
    measures.ed, measures.es = ed, es
    if measures.volumes_ml is not None:
        pair = measures.ed_disks, measures.es_disks = sections[ed], sections[es]
        measures.ef = _single_plane(pair, measures.view)


def _single_plane(pair: tuple[Disks, Disks], view: str | None) -> EjectionFraction:
    if view == "2CH":
        return ejection_fraction_of_disks(pair, None)
    found = ejection_fraction_of_disks(None, pair)
    return found if view else found._replace(method="single-plane, view unknown")
