"""Whether a file shows a B-mode film, by its header and its colours; and opening those that do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.errors import NoFilmError
from echozoo.films.apart import apart, open_film_apart
from echozoo.films.facts import COLOUR_FLOW, SPATIAL_FORMATS, TISSUE, Facts, read_facts
from echozoo.films.film import EchoFilm
from echozoo.films.sector import cut_film, find_sector

COLOURED = 0.01
"""Share of pixels with a strong colour above which an image is colour Doppler: an ECG, a logo and
a tinted grey scale have less."""
_ULTRASOUND, _IMAGE = ("", "US"), "Image Storage"


def not_b_mode(facts: Facts) -> str:
    """Why a header's file is no B-mode film; "" where nothing says so."""
    if not facts.has_pixels and _IMAGE not in facts.kind:  # an image without pixels is damaged
        return f"no image: {facts.kind or 'DICOM of no stated kind'}"
    if facts.modality not in _ULTRASOUND:
        return f"modality {facts.modality}, wanted US"
    if facts.modes:
        return f"{' and '.join(facts.modes)}, by its image type"
    formats = {one.spatial_format for one in facts.regions}
    for number in (2, 3):
        if number in formats:
            return f"{SPATIAL_FORMATS[number]}, by an ultrasound region of its header"
    if any(one.data_type == COLOUR_FLOW for one in facts.regions):
        return "colour Doppler, by an ultrasound region of its header"
    if facts.regions and not any(one.data_type == TISSUE for one in facts.regions):
        return "no region of tissue among the ultrasound regions of its header"
    return ""


def open_b_mode(
    source: str | Path | np.ndarray,
    spacing: tuple[float, float] | None = None,
    frame_time_ms: float | None = None,
    crop: bool = True,
    force: bool = False,
    **options: Any,
) -> EchoFilm:
    """Open a film as `open_film_apart` does, with its header's facts, cut to its sector.

    Args:
        source: As in `open_film`.
        spacing: Likewise.
        frame_time_ms: Likewise.
        crop: Whether to cut.
        force: Whether to open what is no B-mode film too, with a note.
        **options: As in `open_film`.

    Raises:
        NoFilmError: It is something else than a B-mode film.
        DataError: As `open_film_apart`.
    """
    facts = None if isinstance(source, np.ndarray) else apart(read_facts, source)
    reason = "" if facts is None else not_b_mode(facts)
    if reason and not (force and facts.has_pixels):
        raise NoFilmError(reason)
    film = replace(open_film_apart(source, spacing, frame_time_ms, **options), facts=facts)
    if not reason and film.coloured > COLOURED:
        reason = f"colour Doppler, by the colour of {film.coloured:.0%} of its pixels"
        if not force:
            raise NoFilmError(reason)
    if reason:
        film.notes.append(f"no B-mode film: {reason}")
    return cut_film(film, find_sector(film)) if crop else film
