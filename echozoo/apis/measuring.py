"""Numbers of a film, from its label maps: what the tool, the page and `EchoInferencer` measure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from echozoo.apis.views import View, named_view
from echozoo.datasets.anatomy import Structure, choose_structures, label_table
from echozoo.errors import DataError
from echozoo.evaluation.functional.disks import Disks, chamber_area, disks
from echozoo.evaluation.functional.ejection_fraction import (
    EjectionFraction,
    ejection_fraction_of_disks,
    find_beats,
    lv_volume,
)
from echozoo.evaluation.functional.geometry import la_volume
from echozoo.films.film import EchoFilm
from echozoo.postprocessing import film_flags, frame_flags
from echozoo.studies.trust import why_withheld

_LV = Structure.LV.short
Instants = tuple[int | None, int | None]
_LA_AND_LV = {_LV, Structure.LA.short}


@dataclass(frozen=True)
class FrameMeasures:
    """What is measured in one frame with K structures.

    Attributes:
        pixels: (K,) of each structure, NaN where nobody looked for it.
        flags: What is implausible in the frame by itself.
        disks: Of the left ventricle, in mm, in pixels where the spacing is unknown; None where
            nobody looked for it.
        chamber: Pixels of the part of the left ventricle that its disks are cut from, by which ED
            and ES are found; NaN where nobody looked for it.
        outside: Share of the left ventricle that lies outside of the sector, or of its outline that
            lies at the image's edge.
        la_ml: Volume of the left atrium by area and length; NaN where it or the ventricle is
            missing, nobody looked for both, or the spacing is unknown.
    """

    pixels: np.ndarray
    flags: list[str]
    disks: Disks | None = None
    chamber: float = math.nan
    outside: float = 0.0
    la_ml: float = math.nan


class Beat(NamedTuple):
    """One contraction: frames of ED and ES, and the volumes of this view alone."""

    ed: int
    es: int
    ef: EjectionFraction


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
        la_volumes_ml: (T,) of the left atrium, by area and length in this view alone; likewise.
        flags: What is implausible in each frame.
        ed, es: Frames of end diastole and end systole, None where they cannot be told.
        ef: Volumes and ejection fraction of this view alone: those of the beat with the median EF.
            Volumes are NaN where the spacing is unknown; None where all is, or is withheld.
        view_certainty: From 0 to 1.
        beats: Every contraction.
        withheld: Why a measured ejection fraction is not given, "" where it is.
        certainty: From 0 to 1, how far ``ef`` can be trusted: that of the view, times the share of
            frames that are not flagged.
        ed_disks, es_disks: The disks at ED and ES; for a still, both are its own.
    """

    structures: tuple[str, ...]
    view: str | None
    spacing: tuple[float, float] | None
    frame_time_ms: float | None
    areas: np.ndarray
    volumes_ml: np.ndarray | None = None
    la_volumes_ml: np.ndarray | None = None
    flags: list[list[str]] = field(default_factory=list)
    ed: int | None = None
    es: int | None = None
    ef: EjectionFraction | None = None
    ed_disks: Disks | None = None
    es_disks: Disks | None = None
    view_certainty: float = 0.0
    beats: list[Beat] = field(default_factory=list)
    withheld: str = ""
    certainty: float = 0.0
    notes: list[str] = field(default_factory=list)
    frame_times_ms: np.ndarray | None = None

    @property
    def unit(self) -> str:
        """Unit of the areas: "cm2" or "px2"."""
        return "cm2" if self.spacing else "px2"

    @property
    def gls_percent(self) -> float | None:
        """Global longitudinal strain, by how much the endocardial outline shortens to ES.

        From outlines of masks at two instants, not from tracked tissue; None where there is no
        ejection fraction to be given, as it would come from the same masks.
        """
        if self.ef is None or self.ed_disks is None or self.es_disks is None:
            return None
        return 100 * (self.es_disks.wall_mm / self.ed_disks.wall_mm - 1)

    def instant(self, frame: int) -> str:
        """Name the instant of a frame: "ED", "ES" or nothing."""
        return "ED" if frame == self.ed else "ES" if frame == self.es else ""

    def table(self) -> str:
        """A row a frame, counted from 0, as CSV: time, areas, volume, what is implausible."""
        areas = [f"{name}_area_{self.unit}" for name in self.structures]
        volumes = {"lv_volume_ml": self.volumes_ml, "la_volume_ml": self.la_volumes_ml}
        volumes = {name: found for name, found in volumes.items() if found is not None}
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["frame", "time_ms", "instant", *areas, *volumes, "flags"])
        for frame, row in enumerate(self.areas):
            time = frame * self.frame_time_ms if self.frame_time_ms else None
            if self.frame_times_ms is not None:
                time = float(self.frame_times_ms[frame])
            in_ml = (found[frame] for found in volumes.values())
            numbers = [_cell(value) for value in (*row, *in_ml)]
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
    outside: np.ndarray | None = None,
) -> FrameMeasures:
    """Measure one frame.

    Args:
        labels: (H, W) with CAMUS's labels.
        structures: Short names of the film's K structures.
        spacing: (dy, dx) mm, or None.
        sought: Those that were looked for in this frame; all where None.
        outside: (H, W) bool, what is no part of the sector (see `outside_sector`).
    """
    sought = structures if sought is None else sought
    chosen = choose_structures(structures)
    counts = np.bincount(labels.ravel(), minlength=max(Structure) + 1)
    pixels = [counts[one] if one.short in sought else math.nan for one in chosen]
    flags = frame_flags(label_table(structures)[labels], structures, spacing)
    cavity = labels == Structure.LV
    # Where nobody looked for the wall, a cavity lies against background everywhere.
    wall = Structure.MYO.short in sought
    has_la = spacing is not None and set(sought) >= _LA_AND_LV
    section = disks(cavity, spacing or (1.0, 1.0)) if _LV in sought else None
    return FrameMeasures(
        pixels=np.array(pixels, float),
        flags=[flag for flag in flags if wall or flag != f"{_LV}:open"],
        disks=section,
        chamber=chamber_area(cavity) if _LV in sought else math.nan,
        outside=_outside(cavity, outside) if outside is not None and cavity.any() else 0.0,
        la_ml=la_volume(labels, spacing, section) if has_la else math.nan,
    )


def _outside(cavity: np.ndarray, outside: np.ndarray) -> float:
    """Share of a mask (H, W) outside of the sector, or of its outline at the image's edge."""
    inner = cv2.erode(cavity.astype(np.uint8), None, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    outline = cavity & (inner == 0)
    edge = outline[[0, -1]].sum() + outline[:, [0, -1]].sum()
    return float(max(outside[cavity].mean(), edge / outline.sum()))


def measure_film(
    film: EchoFilm,
    structures: Sequence[str],
    frames: Sequence[FrameMeasures | None],
    view: View | None = None,
    instants: Instants = (None, None),
) -> Measures:
    """Measure a film.

    Args:
        film: The film.
        structures: Short names of the K structures that were looked for.
        frames: What `measure_frame` found in each of the T frames, None where nobody looked.
        view: What `find_view` found; None takes what the film's name says.
        instants: Frames (ED, ES) that a person has set; one that is None is told from the areas.
    """
    view = named_view(film) if view is None else view
    nothing = np.full(len(structures), math.nan)
    pixels = np.array([nothing if one is None else one.pixels for one in frames])  # (T, K)
    dy, dx = film.spacing or (10.0, 10.0)
    measures = Measures(
        structures=tuple(structures),
        view=view.name,
        view_certainty=view.certainty,
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
    if film.spacing and any(sections):
        volumes = [math.nan if one is None else lv_volume(one) for one in sections]
        measures.volumes_ml = np.array(volumes)
    if film.spacing and set(structures) >= _LA_AND_LV:
        measures.la_volumes_ml = np.array([math.nan if f is None else f.la_ml for f in frames])
    if _LV in structures:
        chambers = np.array([math.nan if one is None else one.chamber for one in frames])
        _find_phases(measures, sections, chambers, instants)
        outside = [0.0 if one is None else one.outside for one in frames]
        _judge(measures, view, [outside[frame] for beat in measures.beats for frame in beat[:2]])
    return measures


def _find_phases(
    measures: Measures,
    sections: Sequence[Disks | None],
    areas: np.ndarray,
    instants: Instants,
) -> None:
    if len(sections) == 1:
        measures.ed_disks = measures.es_disks = sections[0]
        return
    known = np.flatnonzero(areas > 0)
    unseen = [frame for frame in instants if frame is not None and frame not in known]
    if unseen:
        measures.notes.append(f"frame {unseen[0]}, set as ED or ES, shows no ventricle: segment it")
        return
    try:
        found = _beats(areas, instants)
    except DataError as error:
        measures.notes.append(str(error))
        return
    for place in found:
        # Between frames that were segmented the curve is a guess: the nearest of them counts.
        ed, es = (int(known[np.argmin(abs(known - frame))]) for frame in place)
        if ed == es:
            measures.notes.append(f"frame {ed} is nearest to both ED and ES: no ED and no ES")
        else:
            ef = _single_plane((sections[ed], sections[es]), measures.view)
            if measures.spacing is None:
                ef = ef._replace(edv_ml=math.nan, esv_ml=math.nan)
            measures.beats.append(Beat(ed, es, ef))
    if not measures.beats:
        return
    ordered = sorted(measures.beats, key=lambda beat: beat.ef.ef_percent)
    measures.ed, measures.es, measures.ef = ordered[(len(ordered) - 1) // 2]
    measures.ed_disks, measures.es_disks = sections[measures.ed], sections[measures.es]
    if len(measures.beats) > 1:
        efs = ", ".join(f"{beat.ef.ef_percent:.0f}" for beat in measures.beats)
        measures.notes.append(f"{len(measures.beats)} beats, EF {efs} %: the median is taken")


def _beats(areas: np.ndarray, instants: Instants) -> list[tuple[int, int]]:
    """Frames (ED, ES) of every contraction; of the one that a person means, where one is set."""
    ed, es = instants
    if ed is not None and es is not None:
        return [(ed, es)]
    found = find_beats(areas)
    if ed is not None:
        return [(ed, min(found, key=lambda beat: abs(beat[0] - ed))[1])]
    if es is not None:
        return [(min(found, key=lambda beat: abs(beat[1] - es))[0], es)]
    return found


def _judge(measures: Measures, view: View, outside: Sequence[float]) -> None:
    """Withhold what cannot be, or cannot be trusted; say how certain the rest is."""
    flagged = sum(map(bool, measures.flags)) / len(measures.flags)
    measures.certainty = view.certainty * (1 - flagged)
    if measures.ef is None:
        return
    ef = measures.ef.ef_percent
    measures.withheld = why_withheld(ef, flagged, max(outside), view.name)
    if measures.withheld:
        value = "" if math.isnan(ef) else f" of {ef:.0f} %"
        measures.notes.append(f"EF{value} withheld: {measures.withheld}")
        measures.ef, measures.certainty = None, 0.0
    elif measures.spacing is None:
        measures.notes.append("EF with pixels taken for square: a ratio, without ml")


def _single_plane(pair: tuple[Disks, Disks], view: str | None) -> EjectionFraction:
    return ejection_fraction_of_disks(*((pair, None) if view == "2CH" else (None, pair)))
