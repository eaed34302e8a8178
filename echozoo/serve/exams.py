"""Films of one exam at the page: the biplane ejection fraction of both its views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echozoo.apis.measuring import Measures
from echozoo.apis.summaries import summarise
from echozoo.serve.workspace import Workspace
from echozoo.studies.exams import FilmResult, find_exams, measure_exam


class Exams:
    """What was measured last on each film, as ``echozoo infer`` has it of its films.

    Args:
        films: The folder whose films the page offers; None where it offers none.
        loaded: The model.
    """

    def __init__(self, films: Path | None, loaded: Any) -> None:
        self._films, self._loaded = films, loaded
        self._results: dict[str, FilmResult] = {}  # by what `film_id` says

    def note(self, workspace: Workspace, measures: Measures) -> dict[str, Any]:
        """Remember what was measured on a film.

        Returns:
            What `measure_exam` says of the exam that the film is of.
        """
        film = workspace.film
        summary = summarise(film, measures, [self._loaded], [None])
        mine = self._results[workspace.place.id] = FilmResult(self._where(workspace), summary)
        exams = find_exams(list(self._results.values()))
        return measure_exam(next(exam for exam in exams if mine in exam.films))

    def _where(self, workspace: Workspace) -> Path:
        """Where the results of a film would be: beside those of its folder; an upload is alone."""
        film = workspace.film
        if self._films is not None and film.path.is_relative_to(self._films):
            return film.path.relative_to(self._films).with_name(film.name)
        return Path("uploads", workspace.place.id, film.name)
