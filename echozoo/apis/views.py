"""Which apical view a film shows: as told, by its header or its name, else by its look."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from echozoo.apis.model import LoadedModel
from echozoo.films.film import EchoFilm
from echozoo.studies.names import VIEWS, view_of_any

_FRAMES = 8
_CERTAIN = 0.9
"""What the view head calls less likely than this is no view."""


class View(NamedTuple):
    """The view of a film.

    Attributes:
        name: "2CH" or "4CH"; None where it is not known, or another one.
        notes: What the user should know of it, a line each.
        certainty: From 0 to 1; that of the view head where it looked.
        strange: Whether the image looks like no apical view.
    """

    name: str | None
    notes: tuple[str, ...] = ()
    certainty: float = 1.0
    strange: bool = False


def named_view(film: EchoFilm) -> View:
    """The view that a film's header or name says."""
    said = film.facts.views if film.facts else ()
    named = view_of_any((*said, film.name))
    if named is None or named in VIEWS:
        return View(named, certainty=float(named is not None))
    return View(None, (f"named {named}: none of {' and '.join(VIEWS)}, no volumes of it",), 0.0)


def find_view(loaded: LoadedModel, film: EchoFilm, told: str | None = None) -> View:
    """Tell the view of a film.

    What the user tells, else its header, else its name is believed; the model's view head, where
    it has one, then only warns. Of a film without any the head looks at eight frames, from the
    first to the last.

    Args:
        loaded: The model.
        film: The film.
        told: "2CH" or "4CH" where the user says so.
    """
    named = View(told) if told else named_view(film)
    head = loaded.model.view_head
    if head is None or not head.is_fitted:
        return named
    places = np.unique(np.linspace(0, film.num_frames - 1, _FRAMES).round().astype(int))
    frames = np.concatenate([film.frames(place, place + 1) for place in places])  # (n, H, W)
    chances, strangeness = loaded.see_view(frames, film.spacing)
    seen, chance = head.views[chances.argmax()], float(chances.max())
    if strangeness > 1:
        known = " or ".join(head.views)
        note = f"unlike {known} (strangeness {strangeness:.1f}, at most 1 wanted)"
        note = f"the image looks {note}: is it an apical view, cut to the sector?"
        return View(named.name, (*named.notes, note), 0.0, strange=True)
    if named.notes:  # it says that it is another view
        return named
    if named.name is None:
        if chance < _CERTAIN:
            return View(None, (f"view not certain: {seen} {chance:.0%}",), 0.0)
        return View(seen, (f"view {seen}, by its look ({chance:.0%})",), chance)
    agreed = float(chances[list(head.views).index(named.name)])
    if chance < _CERTAIN or named.name == seen:
        return View(named.name, (), max(agreed, 0.5))
    return View(named.name, (f"named {named.name}, and looks like {seen} ({chance:.0%})",), agreed)
