"""What a film's ``summary.json`` holds."""

from __future__ import annotations

from pathlib import Path

import echozoo
from echozoo.apis.measuring import Measures
from echozoo.apis.model import LoadedModel
from echozoo.films.film import EchoFilm


def summarise(film: EchoFilm, measures: Measures, loaded: LoadedModel, digest: str | None) -> dict:
    """Say what was measured on a film, and what with: the content of ``summary.json``.

    Args:
        film: The film.
        measures: What was measured.
        loaded: The model.
        digest: SHA-256 of its weights' file, None where it has none.
    """
    phases = {"ED": measures.ed, "ES": measures.es}
    ef = measures.ef
    return {
        "file": str(film.path) if film.path else film.name,
        "model": Path(loaded.cfg.filename or "").name,
        "checkpoint": str(loaded.checkpoint) if loaded.checkpoint else None,
        "checkpoint_sha256": digest,
        "precision": loaded.precision,
        "echozoo": echozoo.__version__,
        "structures": measures.structures,
        "frames": film.num_frames,
        "size": film.size,
        "spacing_mm": film.spacing,
        "frame_time_ms": film.frame_time_ms,
        "view": measures.view,
        "ed_frame": measures.ed,
        "es_frame": measures.es,
        f"areas_{measures.unit}": _phase_areas(measures, phases),
        "method": ef.method if ef else None,
        "edv_ml": ef.edv_ml if ef else None,
        "esv_ml": ef.esv_ml if ef else None,
        "ef_percent": ef.ef_percent if ef else None,
        "flagged_frames": [i for i, flags in enumerate(measures.flags) if flags],
        "notes": [*film.notes, *measures.notes],
    }


def _phase_areas(measures: Measures, phases: dict[str, int | None]) -> dict:
    if len(measures.areas) == 1:
        return dict(zip(measures.structures, measures.areas[0], strict=True))
    return {
        name: dict(zip(measures.structures, measures.areas[frame], strict=True))
        for name, frame in phases.items()
        if frame is not None
    }
