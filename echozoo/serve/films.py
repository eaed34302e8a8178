"""The films of a folder, which the page knows by number."""

from __future__ import annotations

from pathlib import Path

from echozoo.errors import DataError
from echozoo.films.film import is_film_file
from echozoo.serve.uploads import Refusal

_MOST = 5000


class FilmList:
    """Films below a folder, as they were when the server started.

    Args:
        folder: Where to look, subfolders included; None is an empty list.

    Attributes:
        names: What the page shows, by number: paths within the folder. CAMUS's own masks
            (``_gt``) are left out.

    Raises:
        DataError: There is no such folder, or no film in it.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.names: list[str] = []
        if folder is None:
            return
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; --films wants one with films")
        paths = (path for path in sorted(folder.rglob("*")) if _is_film(path))
        self.names = [path.relative_to(folder).as_posix() for path in paths][:_MOST]
        if not self.names:
            raise DataError(f"{folder}: no film in it; wanted NIfTI, .mhd, DICOM, AVI, MP4 or PNG")

    def get(self, number: int) -> tuple[Path, str]:
        """Path and name of a film.

        Raises:
            Refusal: There is none of this number (404).
        """
        if number >= len(self.names):
            raise Refusal(404, f"film {number}: the list has {len(self.names)}")
        return self._folder / self.names[number], self.names[number]

    def facts(self, number: int) -> tuple[str, int]:
        """Name and bytes of a film's file; no bytes where it is gone."""
        path = self._folder / self.names[number]
        return path.name, path.stat().st_size if path.is_file() else 0


def _is_film(path: Path) -> bool:
    return path.is_file() and "_gt." not in path.name and is_film_file(path)
