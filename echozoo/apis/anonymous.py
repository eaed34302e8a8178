"""Names that say nothing, the same for the same file in the same folder of results."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmengine.dist import barrier, is_main_process

from echozoo.apis.outcomes import Task
from echozoo.errors import StorageError
from echozoo.studies.exams import FilmResult, belongs

KEY_FILE = ".names-key"
"""Without it nobody can tell again which name stands for what: delete it before passing on OUT."""


class Pseudonyms:
    """Makes names from a secret of the folder of results.

    Args:
        out: The folder.

    Raises:
        StorageError: The secret cannot be written.
    """

    def __init__(self, out: Path) -> None:
        path = out / KEY_FILE
        try:
            with contextlib.suppress(FileExistsError), path.open("x") as file:
                file.write(secrets.token_hex(16))
            self._key = path.read_bytes()
        except OSError as error:
            raise StorageError.of(path, error) from error

    @classmethod
    def of_all_processes(cls, out: Path) -> Pseudonyms:
        """The same names in all processes of a launcher: the first makes the secret."""
        if is_main_process():
            cls(out)
        barrier()
        return cls(out)

    def of(self, kind: str, name: object) -> str:
        """The name of a film, an exam or a file."""
        text = f"{kind}\0{name}".encode("utf-8", "surrogateescape")
        return f"{kind}-{hashlib.blake2b(text, key=self._key, digest_size=5).hexdigest()}"

    def task(self, task: Task) -> Task:
        """A film whose results go to a folder of such a name."""
        place = Path(self.of("film", task.place))
        folder = task.folder.parents[len(task.place.parts) - 1] / place
        return task._replace(place=place, folder=folder, hide=partial(self._hide, task.place))

    def _hide(self, place: Path, summary: dict) -> dict:
        """A film's summary without what names its patient, given the place by its own name."""
        key = belongs(FilmResult(place, summary))[0]
        exam = self.of("exam", key)
        return summary | {"file": None, "patient": exam, "study": exam}

    def files(self, left_out: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Names and reasons of files that are left out by their names alone."""
        return [(self.of("file", name), reason) for name, reason in left_out]
