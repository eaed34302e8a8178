"""What a data set of one's own says of a film is checked where it is said."""

from __future__ import annotations

import numpy as np
import pytest

from echozoo.datasets.film_dataset import FilmDataset
from echozoo.errors import DataError
from echozoo.films.io import write_volume


class Films(FilmDataset):
    """One film, described as the test says."""

    about: dict = {}

    def find_films(self, root):
        film = root / "film.nii.gz"
        yield self.film(
            **{"patient": "p", "view": "4CH", "labels": {1: film}} | self.about, image=film
        )


@pytest.mark.parametrize(
    ("about", "found"),
    [
        (dict(view="A4C"), "found 'A4C', wanted 2CH or 4CH as the view"),
        (dict(instants={1: "end-diastole"}), "found 'end-diastole', wanted .* ED and ES"),
        (dict(instants={9: "ED"}), "labels or instants are named for 9; wanted 0 to 3"),
    ],
)
def test_words_that_mean_nothing_are_refused(about, found, tmp_path, monkeypatch):
    write_volume(tmp_path / "film.nii.gz", np.zeros((4, 20, 30), np.uint8), (1.0, 1.0))
    monkeypatch.setattr(Films, "about", about)
    with pytest.raises(DataError, match=rf"film\.nii\.gz: .*{found}"):
        Films(str(tmp_path), lazy_init=True).films()
