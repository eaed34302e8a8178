from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from echozoo.apis.views import find_view
from echozoo.films.facts import Facts
from echozoo.films.film import open_film


def loaded(chances, strangeness: float = 0.4, is_fitted: bool = True):
    """Stands for a model whose view head says this; it remembers which frames it was shown."""
    head = SimpleNamespace(views=("2CH", "4CH"), is_fitted=is_fitted)
    model = SimpleNamespace(model=SimpleNamespace(view_head=head), shown=None)

    def see_view(frames, spacing):
        model.shown = frames[:, 0, 0].tolist()
        return np.array(chances), strangeness

    model.see_view = see_view
    return model


def film(name: str, length: int = 22):
    frames = np.broadcast_to(np.arange(length, dtype=np.uint8)[:, None, None], (length, 32, 32))
    found = open_film(np.ascontiguousarray(frames), (1.0, 1.0))
    found.name = name
    return found


@pytest.mark.parametrize(
    ("name", "head", "view", "note"),
    [
        ("a_film", loaded((0.02, 0.98)), "4CH", "view 4CH, by its look (98%)"),
        ("a_film", loaded((0.3, 0.7)), None, "view not certain: 4CH 70%"),
        ("a_film", loaded((0.01, 0.99), 3.4), None, "the image looks unlike 2CH or 4CH "),
        ("p_2CH", loaded((0.01, 0.99), 3.4), "2CH", "the image looks unlike 2CH or 4CH "),
        ("p_2CH", loaded((0.01, 0.99)), "2CH", "named 2CH, and looks like 4CH (99%)"),
        ("p_2CH", loaded((0.99, 0.01)), "2CH", ""),
        ("exam A3C 1", loaded((0.01, 0.99)), None, "named 3CH: none of 2CH and 4CH"),
        ("p_2CH", loaded((0.45, 0.55)), "2CH", ""),
        ("p_2CH", loaded((0.01, 0.99), is_fitted=False), "2CH", ""),
        ("a_film", loaded((0.01, 0.99), is_fitted=False), None, ""),
    ],
)
def test_the_name_is_believed_and_the_look_warns(name, head, view, note) -> None:
    found = find_view(head, film(name))
    assert found.name == view
    assert found.strange == ("unlike" in note)
    assert (found.certainty > 0) == (view is not None and not found.strange)
    assert " ".join(found.notes).startswith(note)
    assert bool(found.notes) == bool(note)


def test_looks_at_frames_of_the_whole_film() -> None:
    head = loaded((0.0, 1.0))
    find_view(head, film("a_film"))
    assert head.shown == [0, 3, 6, 9, 12, 15, 18, 21]
    find_view(head, film("a_still", length=1))
    assert head.shown == [0]


def test_the_header_comes_before_the_name_and_the_user_before_both() -> None:
    one = film("p_2CH")
    one.facts = Facts(views=("Apical two chamber", "A4C"))
    assert find_view(loaded((0.9, 0.1)), one).name == "2CH"
    one.facts = Facts(views=("Resting", "AP4"))
    assert find_view(loaded((0.01, 0.99)), one).name == "4CH"
    assert find_view(loaded((0.01, 0.99), is_fitted=False), one, "2CH").name == "2CH"
