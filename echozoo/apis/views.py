"""Which apical view a film shows: by its name, else by the model's view head."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from echozoo.apis.model import LoadedModel
from echozoo.films.film import EchoFilm

_VIEW = re.compile(r"(?:^|[^A-Za-z0-9])(2CH|4CH)(?:[^A-Za-z0-9]|$)", re.IGNORECASE)
_FRAMES = 8
_CERTAIN = 0.9
"""What the view head calls less likely than this is no view."""


class View(NamedTuple):
    """The view of a film.

    Attributes:
        name: "2CH" or "4CH"; None where it is not known.
        notes: What the user should know of it, a line each.
    """

    name: str | None
    notes: tuple[str, ...] = ()


def view_of(name: str) -> str | None:
    """The view that a film's name says: "2CH", "4CH", or None."""
    found = _VIEW.search(name.replace("_", " "))
    return found[1].upper() if found else None


def find_view(loaded: LoadedModel, film: EchoFilm) -> View:
    """Tell the view of a film.

    Its name is believed; the model's view head, where it has one, then only warns. Of a film
    without such a name the head looks at eight frames, from the first to the last.

    Args:
        loaded: The model.
        film: The film.
    """
    named = view_of(film.name)
    head = loaded.model.view_head
    if head is None or not head.is_fitted:
        return View(named)
    places = np.unique(np.linspace(0, film.num_frames - 1, _FRAMES).round().astype(int))
    frames = np.concatenate([film.frames(place, place + 1) for place in places])  # (n, H, W)
    chances, strangeness = loaded.see_view(frames, film.spacing)
    seen, chance = head.views[chances.argmax()], chances.max()
    known = " or ".join(head.views)
    if strangeness > 1:
        note = f"unlike {known} (strangeness {strangeness:.1f}, at most 1 wanted)"
        return View(named, (f"the image looks {note}: is it an apical view, cut to the sector?",))
    if chance < _CERTAIN:
        return View(named, () if named else (f"view not certain: {seen} {chance:.0%}",))
    if named is None:
        return View(seen, (f"view {seen}, by its look ({chance:.0%})",))
    unlike = (f"named {named}, and looks like {seen} ({chance:.0%})",) if named != seen else ()
    return View(named, unlike)
