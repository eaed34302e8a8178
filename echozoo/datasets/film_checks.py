"""Reading a data set of films once, whole: what is in it, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echozoo.datasets.echonet import FILE_LIST, EchoNetDataset
from echozoo.datasets.film_dataset import FilmDataset
from echozoo.datasets.films import FilmFiles
from echozoo.datasets.hmc_qu import SHEET, HMCQUDataset
from echozoo.datasets.splits import SUBSETS
from echozoo.datasets.transforms.loading import LoadClip
from echozoo.errors import DataError, one_line

_TOLD_BY = {FILE_LIST: EchoNetDataset, SHEET: HMCQUDataset}


@dataclass
class FilmFinding:
    """What was found in one film, or, added up, in several.

    Attributes:
        counts: Films, frames and labelled frames.
        sizes: Films of each size (H, W).
        lengths: Films of each length.
        pixels: Labelled pixels by structure.
        problems: One line each.
    """

    counts: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    lengths: Counter = field(default_factory=Counter)
    pixels: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def add(self, other: FilmFinding) -> None:
        """Add up."""
        for name in ("counts", "sizes", "lengths", "pixels"):
            getattr(self, name).update(getattr(other, name))
        self.problems += other.problems


def data_set_of(root: Path) -> type[FilmDataset] | None:
    """The data set of films whose table a folder holds; None where it holds none."""
    return next((kind for name, kind in _TOLD_BY.items() if (root / name).is_file()), None)


def subsets_of(kind: type[FilmDataset], root: Path) -> Iterator[tuple[str, FilmDataset, list]]:
    """The films of each subset, and the data set that knows what was left out of it."""
    for subset in SUBSETS:
        data = kind(str(root), subset=subset, test_mode=True, lazy_init=True)
        yield subset, data, data.films()


def check_film(film: FilmFiles, data: FilmDataset) -> FilmFinding:
    """Read all frames and masks of a film."""
    finding = FilmFinding()
    clip = film.clip(tuple(range(len(film))))
    given = {
        "structures": data.structures,
        "label_values": data.label_values,
        "cache_dir": data.cache_dir,
        "test_mode": False,
    }
    try:
        read = LoadClip().transform(clip | given)
    except DataError as error:
        finding.problems.append(one_line(error))
        return finding
    images, labels, labelled = (read[key] for key in ("images", "labels", "labelled"))
    finding.counts.update(films=1, frames=len(images), labelled=int(labelled.any(1).sum()))
    finding.sizes[images.shape[1:]] += 1
    finding.lengths[len(images)] += 1
    if images.min() == images.max():
        finding.problems.append(f"{clip['frame_files'][0].image}: every pixel is {images.min()}")
    for k, name in enumerate(data.structures, start=1):
        found = (labels == k).sum((1, 2))
        finding.pixels[name] += int(found.sum())
        empty = np.flatnonzero(labelled[:, k - 1] & (found == 0)).tolist()
        if empty:
            mask = clip["frame_files"][empty[0]].label
            finding.problems.append(f"{mask}: no {name} in frame {empty[0]}, wanted a mask")
    return finding


def patients_of(films: Iterable[FilmFiles]) -> int:
    """How many patients films are of."""
    return len({film.patient for film in films})
