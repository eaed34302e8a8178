"""What the label maps of one patient measure, ground truth or predictions in CAMUS's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echozoo.datasets.anatomy import INSTANTS, LABEL_VALUES, VIEWS
from echozoo.datasets.checks import check_labels
from echozoo.datasets.info import Info, read_info
from echozoo.datasets.layout import FILM_NAMES, ViewFiles, scan_patient
from echozoo.errors import DataError, one_line
from echozoo.evaluation.functional.disks import Disks, chamber_area, disks
from echozoo.evaluation.functional.ejection_fraction import (
    GLOBAL,
    PER_PHASE,
    EjectionFraction,
    ejection_fraction_of_disks,
    find_ed_es,
)
from echozoo.evaluation.functional.geometry import (
    LV,
    FrameMeasures,
    area_length_volume,
    measure_frame,
)
from echozoo.films.apart import apart
from echozoo.films.io import IMAGE_SUFFIXES, Volume, read_noted, read_shape

STILLS, FROM_INFO, FROM_CURVE = "ED and ES files", "Info file", "area curve"


class MeasuredFrame(NamedTuple):
    """One labelled frame at ED or ES."""

    view: str
    instant: str
    frame: int | None
    """Index in the film, from 0; None for a still."""
    found_by: str
    """How it is known to be ED or ES: "ED and ES files", "Info file" or "area curve"."""
    measures: FrameMeasures
    section: Disks


@dataclass
class PatientMeasures:
    """The measures of one patient.

    Attributes:
        patient: Its name.
        frames: ED and ES of each view that has both.
        volumes: Volumes and EF by both conventions of the step, "per_phase" and "global"; empty
            where no view has ED and ES.
        info: What the Info files say, None where there are none. Its ``method`` names their
            generation, its ``step`` the convention that it is to be compared with.
        problems: What could not be measured, one line each.
        notes: What was done to files on the way, one line each.
    """

    patient: str
    frames: list[MeasuredFrame] = field(default_factory=list)
    volumes: dict[str, EjectionFraction] = field(default_factory=dict)
    info: EjectionFraction | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def la_volume_ml(self, instant: str) -> float:
        """LA volume at "ED" or "ES" by the area-length formula, biplane where both views are."""
        atria = [f.measures for f in self.frames if f.instant == instant]
        if not atria:
            return float("nan")
        areas, lengths = zip(*((m.la_area_cm2, m.la_length_mm) for m in atria), strict=True)
        return area_length_volume((areas[0], areas[-1]), (lengths[0], lengths[-1]))

    def row(self) -> dict[str, Any]:
        """The patient's line of a table of patients."""
        row: dict[str, Any] = {"patient": self.patient}
        for step, suffix in ((PER_PHASE, ""), (GLOBAL, "_global_step")):
            volumes = self.volumes[step]
            row |= {"method": volumes.method}
            row |= {f"edv{suffix}_ml": volumes.edv_ml, f"esv{suffix}_ml": volumes.esv_ml}
            row |= {f"ef{suffix}_percent": volumes.ef_percent}
        row |= {f"la_volume_{i.lower()}_ml": self.la_volume_ml(i) for i in INSTANTS}
        row |= {"ed_es_from": " / ".join(dict.fromkeys(f.found_by for f in self.frames))}
        if self.info is not None:
            row |= {"info": self.info.method, "info_step": self.info.step}
            row |= {"info_edv_ml": self.info.edv_ml, "info_esv_ml": self.info.esv_ml}
            row |= {"info_ef_percent": self.info.ef_percent}
        return row

    def frame_rows(self) -> list[dict[str, Any]]:
        """One line a frame."""
        return [
            {"patient": self.patient, "view": f.view, "instant": f.instant, "frame": f.frame}
            | f.measures._asdict()
            for f in self.frames
        ]


def measure_patient(patient: str, folder: Path) -> PatientMeasures:
    """Measure a patient from its label maps (``*_gt``); its images are not needed.

    Where there is one, a mask has to be of its size and place; it is put on its grid, and has its
    spacing.

    ED and ES are the stills where both are there, otherwise frames of the film: those of the Info
    file, or, without it, the ends of the deepest contraction in the curve of the LV's area.

    Args:
        patient: Its name, "patient0001".
        folder: Where its files are.

    Returns:
        The measures; what went wrong is in ``problems``.
    """
    found = PatientMeasures(patient)
    infos = []
    for files in scan_patient(patient, folder):
        try:
            info = read_info(files.info) if files.info else Info()
            infos.append(info)
            found.frames += _measure_view(files, info, found.notes)
        except DataError as error:
            found.problems.append(one_line(error))
    found.info = info_reference(infos)
    pairs = [_sections(found.frames, view) for view in VIEWS]
    if not any(pairs):
        found.problems.append(f"{folder}: no view with label maps of ED and ES: no volumes")
        return found
    found.volumes = {step: ejection_fraction_of_disks(*pairs, step) for step in (PER_PHASE, GLOBAL)}
    found.problems += [
        f"{folder}: {frame.view} {frame.instant} shows no LV of 1 cm2 or more: no volumes"
        for frame in found.frames
        if np.isnan(frame.section.length_mm)
    ]
    return found


def info_reference(infos: Sequence[Info]) -> EjectionFraction | None:
    """The volumes and EF of a patient's Info files, with the step convention they follow.

    The older files (LVedv, LVesv, LVef) follow the per-phase step, the EF of 2023 the global one:
    two references, never to be mixed.

    Args:
        infos: Of its views; the first one with an EF counts (both say the same).

    Returns:
        None where no file has an EF.
    """
    info = next((info for info in infos if info.ef is not None), None)
    if info is None:
        return None
    nan = float("nan")
    if info.source:
        volumes = (nan if one is None else one for one in (info.edv, info.esv))
        return EjectionFraction(*volumes, info.ef, info.source, PER_PHASE)
    if info.edv is None or info.esv is None:
        return EjectionFraction(nan, nan, info.ef, "Info files of 2023 (EF)", GLOBAL)
    # Of both, EF is the rounded one.
    ef = 100 * (info.edv - info.esv) / info.edv if info.edv > 0 else info.ef
    return EjectionFraction(info.edv, info.esv, ef, "older Info files (LVef)", PER_PHASE)


def _measure_view(files: ViewFiles, info: Info, notes: list[str]) -> list[MeasuredFrame]:
    stem = f"{files.patient}_{files.view}"
    stills = {instant: _label(files.folder, f"{stem}_{instant}") for instant in INSTANTS}
    films = [_label(files.folder, f"{stem}_{name}") for name in FILM_NAMES]
    film = next(filter(None, films), None)
    if all(stills.values()):
        volumes = {instant: _read(path, notes, still=True) for instant, path in stills.items()}
        places, found_by = {instant: (volumes[instant], 0) for instant in INSTANTS}, STILLS
    elif film:
        volume = _read(film, notes)
        places, found_by = _ed_es_of_film(film, volume, info)
    else:
        return []
    return [
        _measure(files.view, instant, volume, frame, found_by)
        for instant, (volume, frame) in places.items()
    ]


def _label(folder: Path, stem: str) -> Path | None:
    return _existing(folder, f"{stem}_gt")


def _existing(folder: Path, stem: str) -> Path | None:
    paths = (folder / f"{stem}{suffix}" for suffix in IMAGE_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path, notes: list[str], still: bool = False) -> Volume:
    """Read label maps as strictly as echozoo check does.

    Raises:
        DataError: They do not fit their image, have other labels than CAMUS's, or no spacing; or
            a still has several frames, as a mask with a channel a structure has.
    """
    image = _existing(path.parent, path.name.partition("_gt.")[0])
    volume, noted = apart(read_noted, path, True, image)
    notes += [note if str(path) in note else f"{path}: {note}" for note in noted]
    wanted = read_shape(image) if image else (1, *volume.array.shape[1:])
    wanted = wanted if image or still else volume.array.shape
    if volume.array.shape != wanted:
        found, of_image = (" x ".join(map(str, shape)) for shape in (volume.array.shape, wanted))
        raise DataError(
            f"{path}: mask of {found} (frames, rows, columns), wanted {of_image}"
            + (f" as its image {image}" if image else ": one label map")
        )
    check_labels(str(path), volume.array, LABEL_VALUES)
    if volume.spacing is None:
        raise DataError(f"{path}: no spacing known, wanted mm a pixel: no lengths, no volumes")
    return volume


def _ed_es_of_film(
    path: Path, volume: Volume, info: Info
) -> tuple[dict[str, tuple[Volume, int]], str]:
    frames, found_by = (info.ed, info.es), FROM_INFO
    length = len(volume.array)
    if None in frames or frames[0] == frames[1] or max(frames) >= length:
        try:
            frames = find_ed_es(np.array([chamber_area(frame == LV) for frame in volume.array]))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        found_by = FROM_CURVE
    return dict(zip(INSTANTS, ((volume, frame) for frame in frames), strict=True)), found_by


def _measure(view: str, instant: str, volume: Volume, frame: int, found_by: str) -> MeasuredFrame:
    labels = volume.array[frame]
    section = disks(labels == LV, volume.spacing)
    measures = measure_frame(labels, volume.spacing, section)
    place = None if found_by == STILLS else frame
    return MeasuredFrame(view, instant, place, found_by, measures, section)


def _sections(frames: Sequence[MeasuredFrame], view: str) -> tuple[Disks, Disks] | None:
    found = {frame.instant: frame.section for frame in frames if frame.view == view}
    return (found["ED"], found["ES"]) if found else None
