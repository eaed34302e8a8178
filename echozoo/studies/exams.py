"""Films of one exam together: both views of a patient, by biplane where there are two."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echozoo.evaluation.functional.disks import Disks
from echozoo.evaluation.functional.ejection_fraction import ejection_fraction_of_disks
from echozoo.studies.names import VIEWS, camus_name
from echozoo.studies.trust import why_withheld

INSTANTS = ("ED", "ES")


class FilmResult(NamedTuple):
    """What became of a film: the folder of its results below OUT, and its summary."""

    place: Path
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """For tables."""
        return self.place.as_posix()


@dataclass
class Candidate:
    """What may stand for one view of an exam: a film, or two stills.

    Attributes:
        disks: The ventricle's at (ED, ES).
        certainty: From 0 to 1.
        sources: The film by instant.
        in_mm: Whether the disks are in mm; else in pixels.
    """

    disks: tuple[Disks, Disks]
    certainty: float
    sources: dict[str, str]
    in_mm: bool


@dataclass
class Exam:
    """One exam of a patient.

    Attributes:
        folder: That all of its films are in, below OUT.
        patient: Its name.
        paired: How its films were found to belong together.
        films: All of them.
        views: What may stand for each view, the best first.
    """

    folder: Path
    patient: str
    paired: str
    films: list[FilmResult] = field(default_factory=list)
    views: dict[str, list[Candidate]] = field(default_factory=dict)


def find_exams(films: Iterable[FilmResult]) -> list[Exam]:
    """Put films of one exam together, and what may stand for its views in order.

    They belong together by PatientID and StudyInstanceUID, else by names as CAMUS has them in one
    folder, else by their folder.
    """
    exams: dict[tuple, Exam] = {}
    for film in films:
        key, patient, paired = belongs(film)
        exam = exams.setdefault(key, Exam(film.place.parent, patient, paired))
        exam.films.append(film)
        if film.place.parent != exam.folder:
            exam.folder = _shared_folder(exam.folder, film.place.parent)
    for exam in exams.values():
        for view in VIEWS:
            found = [*_films_of(exam, view), *_stills_of(exam, view)]
            if found:
                exam.views[view] = sorted(found, key=lambda one: -one.certainty)
    return list(exams.values())


def belongs(film: FilmResult) -> tuple[tuple, str, str]:
    """Whose a film is: a key of its exam, the patient's name, and how the two were found."""
    patient, study = (film.summary.get(key) for key in ("patient", "study"))
    if study:
        return (patient, study), patient or study, "PatientID and StudyInstanceUID"
    named = camus_name(film.place.name)
    if named:
        return (film.place.parent, named[0]), named[0], "names"
    return (film.place.parent,), film.place.parent.name or "all films", "folder"


def measure_exam(exam: Exam) -> dict[str, Any]:
    """Ejection fraction of an exam, from the best film of each view.

    Returns:
        What its JSON holds: biplane where both views are there in mm, else single-plane of the
        more certain one, and named so; ``ef_percent`` is None and ``withheld`` says why where
        there is none that can be given.
    """
    chosen = {view: found[0] for view, found in exam.views.items()}
    if len(chosen) == 2 and not all(one.in_mm for one in chosen.values()):
        best = max(chosen, key=lambda view: (chosen[view].in_mm, chosen[view].certainty))
        chosen = {best: chosen[best]}
    about = {"patient": exam.patient, "paired": exam.paired}
    if not chosen:
        return about | _nothing(_why_none(exam))
    pairs = [chosen[view].disks if view in chosen else None for view in VIEWS]
    ef = ejection_fraction_of_disks(*pairs)
    in_mm = all(one.in_mm for one in chosen.values())
    content = about | {
        "method": ef.method,
        "step": ef.step,
        "edv_ml": ef.edv_ml if in_mm else None,
        "esv_ml": ef.esv_ml if in_mm else None,
        "ef_percent": ef.ef_percent,
        "certainty": min(one.certainty for one in chosen.values()),
        "withheld": None,
        "sources": {view: one.sources for view, one in chosen.items()},
        "not_chosen": [
            name
            for view, found in exam.views.items()
            for one in (found[1:] if view in chosen else found)
            for name in dict.fromkeys(one.sources.values())
        ],
    }
    reason = why_withheld(ef.ef_percent, 0.0, 0.0, ef.method)
    return content | (_nothing(f"EF of {ef.ef_percent:.0f} % {reason}") if reason else {})


def _nothing(reason: str) -> dict[str, Any]:
    return {
        "method": None,
        "edv_ml": None,
        "esv_ml": None,
        "ef_percent": None,
        "certainty": 0.0,
        "withheld": reason,
    }


def _why_none(exam: Exam) -> str:
    reasons = {film.summary["withheld"] for film in exam.films} - {None}
    return "; ".join(sorted(reasons)) or "no film with end diastole and end systole"


def _shared_folder(one: Path, other: Path) -> Path:
    shared = [a for a, b in zip(one.parts, other.parts, strict=False) if a == b]
    return Path(*shared)


def _films_of(exam: Exam, view: str) -> Iterable[Candidate]:
    for film in exam.films:
        if film.summary["view"] == view and film.summary["ef_percent"] is not None:
            sections = [_disks(film.summary["disks"][instant]) for instant in INSTANTS]
            yield Candidate(
                tuple(sections),
                film.summary["certainty"],
                dict.fromkeys(INSTANTS, film.place.name),
                film.summary["spacing_mm"] is not None,
            )


def _stills_of(exam: Exam, view: str) -> Iterable[Candidate]:
    """Two stills that say their instants."""
    found: dict[str, FilmResult] = {}
    for film in exam.films:
        if film.summary["frames"] == 1 and film.summary["view"] == view:
            instant = film.summary["still"]
            if instant and film.summary["disks"]:
                found.setdefault(instant, film)
    if len(found) == 2:
        summaries = [found[instant].summary for instant in INSTANTS]
        yield Candidate(
            tuple(_disks(one["disks"]["ED"]) for one in summaries),
            # A person chose these instants: they win over what was found in a film.
            min(one["certainty"] for one in summaries) + 1e-6,
            {instant: found[instant].place.name for instant in INSTANTS},
            all(one["spacing_mm"] is not None for one in summaries),
        )


def _disks(stored: dict[str, Any]) -> Disks:
    numbers = [math.nan if value is None else value for value in stored["diameters"]]
    length = math.nan if stored["length"] is None else stored["length"]
    nan, nowhere = math.nan, np.full(2, math.nan)
    return Disks(np.array(numbers), length, np.full((2, 2), nan), nowhere, nowhere, nan, nan)
