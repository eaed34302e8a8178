"""Numbers of a film, gathered from its label maps a few frames at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echozoo.datasets.anatomy import choose_structures, label_table
from echozoo.errors import DataError
from echozoo.evaluation.functional.disks import Disks, disks
from echozoo.evaluation.functional.ejection_fraction import (
    EjectionFraction,
    ejection_fraction_of_disks,
    find_ed_es,
    lv_volume,
)
from echozoo.films.film import EchoFilm
from echozoo.postprocessing import film_flags, frame_flags

_VIEW = re.compile(r"(?:^|[^A-Za-z0-9])(2CH|4CH)(?:[^A-Za-z0-9]|$)", re.IGNORECASE)


@dataclass
class Measures:
    """What is measured in a film of T frames with K structures.

    Attributes:
        structures: Short names.
        view: "2CH", "4CH", or None where the film's name does not say.
        spacing: (dy, dx) mm, or None.
        areas: (T, K) in cm², in pixels where the spacing is unknown.
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
    areas: np.ndarray
    volumes_ml: np.ndarray | None = None
    flags: list[list[str]] = field(default_factory=list)
    ed: int | None = None
    es: int | None = None
    ef: EjectionFraction | None = None
    ed_disks: Disks | None = None
    es_disks: Disks | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """Unit of the areas: "cm2" or "px2"."""
        return "cm2" if self.spacing else "px2"


def view_of(name: str) -> str | None:
    """The view that a film's name says: "2CH", "4CH", or None."""
    found = _VIEW.search(name.replace("_", " "))
    return found[1].upper() if found else None


class Measuring:
    """Takes the label maps of a film in its order, and measures it at the end.

    Args:
        film: The film.
        structures: Short names of the structures that are looked for.
    """

    def __init__(self, film: EchoFilm, structures: Sequence[str]) -> None:
        self.film, self.structures = film, tuple(structures)
        self._labels = [int(structure) for structure in choose_structures(self.structures)]
        self._table = label_table(self.structures)
        self._pixels: list[np.ndarray] = []
        self._flags: list[list[str]] = []
        self._disks: list[Disks] = []

    def add(self, labels: np.ndarray) -> None:
        """Take the next label maps (n, H, W) with CAMUS's labels."""
        spacing = self.film.spacing
        for frame in labels:
            counts = np.bincount(frame.ravel(), minlength=4)
            self._pixels.append(counts[self._labels])
            flags = frame_flags(self._table[frame], self.structures, spacing)
            # Where nobody looked for the wall, a cavity lies against background everywhere.
            wall = "myo" in self.structures
            self._flags.append([flag for flag in flags if wall or flag != "lv:open"])
            if spacing and "lv" in self.structures:
                self._disks.append(disks(frame == 1, spacing))

    def result(self) -> Measures:
        """Measure the film."""
        film, pixels = self.film, np.array(self._pixels, float)  # (T, K)
        dy, dx = film.spacing or (10.0, 10.0)
        frames = range(len(pixels))
        more = film_flags(pixels, self.structures, frames)
        measures = Measures(
            structures=self.structures,
            view=view_of(film.name),
            spacing=film.spacing,
            areas=pixels * dy * dx / 100,  # cm²
            flags=[one + two for one, two in zip(self._flags, more, strict=True)],
        )
        if self._disks:
            measures.volumes_ml = np.array([lv_volume(one) for one in self._disks])
        if "lv" in self.structures:
            self._find_phases(measures)
        return measures

    def _find_phases(self, measures: Measures) -> None:
        if len(measures.areas) == 1:
            if self._disks:
                measures.ed_disks = measures.es_disks = self._disks[0]
            return
        areas = measures.areas[:, self.structures.index("lv")]
        try:
            measures.ed, measures.es = map(int, find_ed_es(areas))
        except DataError as error:
            measures.notes.append(str(error))
            return
        if self._disks:
            pair = self._disks[measures.ed], self._disks[measures.es]
            measures.ed_disks, measures.es_disks = pair
            measures.ef = _single_plane(pair, measures.view)


def _single_plane(pair: tuple[Disks, Disks], view: str | None) -> EjectionFraction:
    if view == "2CH":
        return ejection_fraction_of_disks(pair, None)
    found = ejection_fraction_of_disks(None, pair)
    return found if view else found._replace(method="single-plane, view unknown")


_STUDY = re.compile(
    r"(?P<patient>.+?)[_ -]?(?P<view>2CH|4CH)(?:[_ -](?P<rest>.*))?$", re.IGNORECASE
)


def biplane(films: Sequence[tuple[Path, str, Measures]]) -> dict[Path, dict]:
    """Ejection fraction from both views of a patient, where a folder has them.

    Films are named as in CAMUS: ``<patient>_2CH…``, ``<patient>_4CH…``. A view is a film whose ED
    and ES were found, or two stills ``…_ED`` and ``…_ES``.

    Args:
        films: The folder for results that a film's folder is in, its name and its measures.

    Returns:
        A summary for each patient with both views (or one view in stills), by the path that it
        is to be written to.
    """
    views: dict[tuple[Path, str], dict[str, dict[str, tuple[Disks, str]]]] = {}
    for folder, name, measures in films:
        found = _STUDY.fullmatch(name)
        if not found or measures.ed_disks is None:
            continue
        rest = (found["rest"] or "").upper()
        instants = views.setdefault((folder, found["patient"]), {}).setdefault(
            found["view"].upper(), {}
        )
        if len(measures.areas) > 1:
            instants.setdefault("ED", (measures.ed_disks, name))
            instants.setdefault("ES", (measures.es_disks, name))
        elif rest in ("ED", "ES"):
            # A still that says what it is wins over what was found in a film.
            instants[rest] = (measures.ed_disks, name)
    studies = {}
    for (folder, patient), by_view in views.items():
        whole = {view: one for view, one in by_view.items() if {"ED", "ES"} <= set(one)}
        stills = any(one["ED"][1] != one["ES"][1] for one in whole.values())
        if len(whole) == 2 or stills:
            studies[folder / f"{patient}_study.json"] = _study(patient, whole)
    return studies


def _study(patient: str, views: dict[str, dict[str, tuple[Disks, str]]]) -> dict:
    pairs = {view: (one["ED"][0], one["ES"][0]) for view, one in views.items()}
    ef = ejection_fraction_of_disks(pairs.get("2CH"), pairs.get("4CH"))
    return {
        "patient": patient,
        "method": ef.method,
        "step": ef.step,
        "edv_ml": ef.edv_ml,
        "esv_ml": ef.esv_ml,
        "ef_percent": ef.ef_percent,
        "sources": {
            view: {instant: name for instant, (_, name) in one.items()}
            for view, one in views.items()
        },
    }
