"""What a film's ``summary.json`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import echozoo
from echozoo.apis.measuring import Measures
from echozoo.apis.model import LoadedModel
from echozoo.evaluation.functional.ejection_fraction import EjectionFraction
from echozoo.films.film import EchoFilm
from echozoo.studies.names import still_of


def summarise(
    film: EchoFilm,
    measures: Measures,
    members: Sequence[LoadedModel],
    digests: Sequence[str | None],
) -> dict:
    """Say what was measured on a film, and what with: the content of ``summary.json``.

    Args:
        film: The film.
        measures: What was measured.
        members: The model; several, where they were averaged.
        digests: SHA-256 of the weights' file of each, None where it has none.
    """
    loaded = members[0]
    phases = {"ED": measures.ed, "ES": measures.es}
    ef = measures.ef
    return {
        "file": str(film.path) if film.path else film.name,
        "model": Path(loaded.cfg.filename or "").name,
        "checkpoint": str(loaded.checkpoint) if loaded.checkpoint else None,
        "checkpoint_sha256": digests[0],
        "averaged_with": [
            {"checkpoint": str(one.checkpoint), "checkpoint_sha256": digest}
            for one, digest in zip(members[1:], digests[1:], strict=True)
        ],
        "precision": loaded.precision,
        "echozoo": echozoo.__version__,
        "structures": measures.structures,
        "frames": film.num_frames,
        "size": (film.whole or film).size,
        "sector": {"place": film.place, "size": film.size},
        "spacing_mm": film.spacing,
        "frame_time_ms": film.frame_time_ms,
        "view": measures.view,
        "view_certainty": measures.view_certainty,
        "patient": film.facts.patient if film.facts else "",
        "study": film.facts.study if film.facts else "",
        "still": still_of(film.name) if film.num_frames == 1 else None,
        "ed_frame": measures.ed,
        "es_frame": measures.es,
        f"areas_{measures.unit}": _phase_areas(measures, phases),
        "method": ef.method if ef else None,
        "disks": _disks(measures),
        "edv_ml": ef.edv_ml if ef else None,
        "esv_ml": ef.esv_ml if ef else None,
        "ef_percent": ef.ef_percent if ef else None,
        "gls_percent": measures.gls_percent,
        "la_volume_ml": _la_volumes(measures),
        "certainty": measures.certainty,
        "withheld": measures.withheld or None,
        "beats": [
            {"ed_frame": beat.ed, "es_frame": beat.es, **_volumes(beat.ef)}
            for beat in measures.beats
        ],
        "flagged_frames": [i for i, flags in enumerate(measures.flags) if flags],
        "notes": [*film.notes, *measures.notes],
    }


def _volumes(ef: EjectionFraction) -> dict:
    return {"edv_ml": ef.edv_ml, "esv_ml": ef.esv_ml, "ef_percent": ef.ef_percent}


def _la_volumes(measures: Measures) -> dict | None:
    """The left atrium's volume at ED and ES, where it is known."""
    if measures.la_volumes_ml is None or measures.ed is None or measures.es is None:
        return None
    found = measures.la_volumes_ml[[measures.ed, measures.es]].tolist()
    return dict(zip(("ED", "ES"), found, strict=True))


def _disks(measures: Measures) -> dict | None:
    """The ventricle's disks at ED and ES, in mm, in pixels where the spacing is unknown."""
    if measures.ed_disks is None or measures.es_disks is None:
        return None
    return {
        name: {"length": section.length_mm, "diameters": section.diameters_mm.tolist()}
        for name, section in (("ED", measures.ed_disks), ("ES", measures.es_disks))
    }


def _phase_areas(measures: Measures, phases: dict[str, int | None]) -> dict:
    if len(measures.areas) == 1:
        return dict(zip(measures.structures, measures.areas[0], strict=True))
    return {
        name: dict(zip(measures.structures, measures.areas[frame], strict=True))
        for name, frame in phases.items()
        if frame is not None
    }
