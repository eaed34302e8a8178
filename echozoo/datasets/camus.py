"""The CAMUS data set: clips of two- and four-chamber films with their masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echozoo.datasets.film_dataset import FilmDataset
from echozoo.datasets.films import FilmFiles, FrameFiles
from echozoo.datasets.info import Info, read_info
from echozoo.datasets.layout import ViewFiles, find_patients, resolve_data_root, scan_patient
from echozoo.datasets.splits import SCHEMES
from echozoo.errors import ConfigError
from echozoo.films.io import read_shape
from echozoo.notices import notice
from echozoo.registry import DATASETS


@DATASETS.register_module()
class CAMUSDataset(FilmDataset):
    """Clips of CAMUS, in the layout of 2023 (NIfTI) or the older one (.mhd).

    It takes what is on disk (one view, no sequences, no Info files, no ES) and says in one line
    what is missing.

    Args:
        data_root: The folder that holds ``database_nifti/``, the patients' folders themselves, or
            the older ``training/`` and ``testing/``. None or "" is the environment's CAMUS_ROOT.
        frames: "sequence" for films, or "ed_es" for the two stills. Where no patient has a film
            with masks, "sequence" means "ed_es". Stills are single images where ``clip_length``
            is 1, otherwise clips of two frames (ED, ES); one that is missing is replaced by the
            other.
        split: One of `echozoo.datasets.splits.SCHEMES`.
        **options: Of `FilmDataset`.

    Raises:
        ConfigError: An argument is none of its choices, or there is no data folder.
        DataError: The folder holds no such data, or a list or an Info file is malformed.
    """

    label_values = {"lv": 1, "myo": 2, "la": 3}
    splits = SCHEMES

    def __init__(
        self,
        data_root: str | None = None,
        frames: str = "sequence",
        split: str = "files",
        **options,
    ) -> None:
        if frames not in ("sequence", "ed_es"):
            raise ConfigError(f"frames={frames!r}: wanted 'sequence' or 'ed_es'")
        self.frames = frames
        super().__init__(data_root, split=split, **options)

    def resolve_root(self, data_root: str | None) -> Path:
        """The data folder that was told, or the environment's CAMUS_ROOT."""
        return resolve_data_root(data_root)

    def find_films(self, root: Path) -> Iterator[FilmFiles]:
        """Yield the films, or the pairs of stills, of this subset."""
        folders = find_patients(root)
        chosen = self.chosen(folders)
        scanned = [
            files
            for patient, folder in folders.items()
            for files in scan_patient(patient, folder)
            if files.view in self.views
        ]
        # Decided on all patients, so that the three subsets of a run are alike.
        self._as_films = self.frames == "sequence" and self._any_film(scanned)
        for files in scanned:
            if files.patient in chosen:
                yield from self._film(files)

    def windows(self, film: FilmFiles) -> list[tuple[int, ...] | None]:
        """As in any data set for films; stills alone, or in pairs."""
        if self._as_films:
            return super().windows(film)
        if self.clip_length == 1:
            return [(k,) for k in (range(len(film)) if self.test_mode else film.labelled)]
        return [(0, len(film) - 1)]

    def _any_film(self, scanned: list[ViewFiles]) -> bool:
        found = any(files.film and files.film.label for files in scanned)
        if not found:
            notice(f"{self.root}: no sequence with masks: ED and ES stills are taken instead")
        return found

    def _film(self, files: ViewFiles) -> Iterator[FilmFiles]:
        """The film of a view, where there is one; counts what is not there."""
        if not files.has_images:
            self.missing[f"{files.view} images"] += 1
            return
        self.missing["Info files"] += files.info is None
        info = read_info(files.info) if files.info else Info()
        if self._as_films and files.film:
            film, known = _sequence(files, info)
            self.missing["usable ED and ES of Info files"] += files.info is not None and not known
            yield film
        elif self._as_films:
            self.missing["sequences"] += 1
        elif files.stills:
            for instant, pair in files.stills.items():
                self.missing[f"{instant} masks"] += pair.label is None
            self.missing["ED or ES images"] += len(files.stills) < 2
            yield _stills(files, info)


def _stills(files: ViewFiles, info: Info) -> FilmFiles:
    """The ED and ES images as a film of at most two frames (0 ED, 1 ES)."""
    frames = tuple(_frame(*pair, 0) for pair in files.stills.values())
    return FilmFiles(
        files.patient, files.view, frames, tuple(files.stills), info.quality, info=info
    )


def _sequence(files: ViewFiles, info: Info) -> tuple[FilmFiles, bool]:
    """The sequence of a view that has one, from ED to ES, whichever way it is stored.

    Frame 0 of the film is its first frame in time after flipping. Where the Info file says ED
    after ES, the film is stored backwards.

    Returns:
        The film, and whether ED and ES are where the Info file says. Where it says nothing, or
        frames that the film does not have, they are its first and last frame.

    Raises:
        DataError: The sequence's header cannot be read.
    """
    length = read_shape(files.film.image)[0]
    ed, es = info.ed, info.es
    known = ed is not None and es is not None and ed != es and max(ed, es) < length
    flipped = ed is not None and es is not None and ed > es
    order = range(length)[::-1] if flipped else range(length)
    marks = {order.index(ed): "ED", order.index(es): "ES"} if known else {length - 1: "ES", 0: "ED"}
    frames = tuple(_frame(*files.film, index) for index in order)
    instants = tuple(marks.get(position, "") for position in range(length))
    return FilmFiles(files.patient, files.view, frames, instants, info.quality, info=info), known


def _frame(image: Path, label: Path | None, index: int) -> FrameFiles:
    return FrameFiles(str(image), label and str(label), index)
