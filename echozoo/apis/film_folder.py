"""The files of one film: label maps, table, curves and pictures in its folder."""

from __future__ import annotations

from pathlib import Path

import echozoo
from echozoo.apis import writers
from echozoo.apis.label_store import LabelStore
from echozoo.apis.measuring import Measures
from echozoo.apis.sources import GREY_FILE, LABEL_FILE, SEG_FILE
from echozoo.datasets.anatomy import choose_structures
from echozoo.films.dicom_objects import write_segmentation
from echozoo.films.film import EchoFilm
from echozoo.films.io import IMAGE_SUFFIXES, LabelWriter

_FRAMES_AT_ONCE = 8
# Keywords of SNOMED CT's codes.
_CODES = {"lv": "LeftVentricle", "myo": "LeftVentricleMyocardium", "la": "LeftAtrium"}


def write_results(
    folder: Path,
    film: EchoFilm,
    store: LabelStore,
    measures: Measures,
    mp4: bool = False,
    dicom_seg: str | None = None,
    keep_grey: bool = False,
) -> None:
    """Write all that becomes of a film but its summary.

    Args:
        folder: Where to.
        film: The film, or its sector, which is all that pictures show.
        store: Label maps of all of the image.
        measures: What was measured.
        mp4: Whether the overlay is written as MP4 too.
        dicom_seg: Name of the model, where the label maps of a DICOM file are written as a DICOM
            segmentation too.
        keep_grey: Whether the film is written as NIfTI even if its file is NIfTI or MetaImage.

    Raises:
        StorageError: A file cannot be written.
    """
    pictures = writers.OverlayWriter(folder, film, measures, mp4)
    geometry = (film.whole or film).geometry
    with LabelWriter(folder / LABEL_FILE, store.shape, geometry) as labels:
        for start, stop in writers.chunks(film.num_frames, _FRAMES_AT_ONCE):
            maps = store.read(start, stop)
            labels.append(maps)
            pictures.append(film.frames(start, stop), film.inside(maps))
    pictures.close()
    writers.write_label_description(folder / "labels.txt", measures.structures)
    (folder / "frames.csv").write_text(measures.table(), encoding="utf-8")
    if film.num_frames > 1:
        writers.write_curves(folder / "curves.png", measures)
    volume = film.path is None or film.path.name.lower().endswith(IMAGE_SUFFIXES)
    if keep_grey or not volume:
        _write_grey(folder / GREY_FILE, film, store)
    if dicom_seg and film.facts:
        structures = [
            (int(one), one.full_name, _CODES[one.short])
            for one in choose_structures(measures.structures)
        ]
        about = (film.spacing, dicom_seg, echozoo.__version__)
        write_segmentation(folder / SEG_FILE, film.path, store.read(), structures, *about)


def _write_grey(path: Path, film: EchoFilm, store: LabelStore) -> None:
    """The film on the grid of its labels, for viewers that read NIfTI; black around its sector."""
    with LabelWriter(path, store.shape, (film.whole or film).geometry) as grey:
        for start, stop in writers.chunks(film.num_frames, _FRAMES_AT_ONCE):
            grey.append(film.put_back(film.frames(start, stop)))
