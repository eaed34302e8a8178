"""What every data set of films is: clips, windows, seeds, and a word about what is missing."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from echozoo.datasets.anatomy import LABEL_VALUES, QUALITIES, VIEWS, choose_structures, palette
from echozoo.datasets.films import (
    FilmFiles,
    FrameFiles,
    random_window,
    spread_window,
    tiling_windows,
)
from echozoo.datasets.splits import SUBSETS, split_patients
from echozoo.errors import ConfigError, DataError
from echozoo.films.cache import cached_length, resolve_cache_dir
from echozoo.notices import notice
from echozoo.registry import TRANSFORMS


class FilmDataset(BaseDataset):
    """Clips of films, some of whose frames have masks.

    A data set is a subclass that says where its films are (`find_films`) and what the values in
    its mask files mean (``label_values``); all else is here. A sample is reproducible: all its
    randomness comes from ``results["rng"]``, made from (seed, epoch, index), whatever the number
    of workers.

    Labels may be few. Frames without a mask stay in their clips, and are told apart by
    ``labelled`` (T, K) of the sample, as are structures that the data set does not label. Training
    takes clips with one labelled frame at least, and leaves out films without any, which is said
    once; in test mode they are predicted, and no metric counts them.

    Args:
        data_root: The data folder.
        subset: "train", "val" or "test".
        split: One of the class's ``splits``.
        split_seed: Of the splits "ratio" and "mini".
        clip_length: Frames of a clip, T. None is the whole film. In training one random clip of
            each film an epoch, in test mode clips that cover all its frames.
        frame_stride: From one frame of a clip to the next.
        views: "2CH", "4CH" or both.
        quality: Grades to keep, of "Good", "Medium" and "Poor"; None keeps all. A film without a
            grade is left out where grades are asked for.
        structures: "lv", "myo", "la" or some of them: what else is labelled becomes background.
            None is all that the data set labels. Others may be named, so that a model of three
            structures learns from data of one.
        labels: "all", or "ends" for the masks of ED and ES alone: what a data set with two labelled
            frames a film would have.
        spread: Let the one clip of a film be ``clip_length`` frames spread evenly from ED to ES, in
            training and in tests, as the methods for films with two labelled frames take them.
        image_size: Size (H, W) of the network's input, for the `ResizeClip` or
            `LoadResizedClip` of the pipeline.
        cache_dir: Folder for decoded films and resized frames, see `resolve_cache_dir`.
        pipeline: Transforms; the first is `LoadClip` or `LoadResizedClip`.
        test_mode: Whether samples are fixed and keep their native labels.
        reach: In test mode, neighbours in time that smoothing looks at on each side of a frame:
            clips overlap by twice as many (see `tiling_windows`).
        whole_films: In test mode, let samples be films: their clips are named by ``clips`` of the
            sample, for the segmentor to look at one after the other.
        **kwargs: Passed on to mmengine's BaseDataset (``indices``, ``lazy_init`` …).

    Raises:
        ConfigError: An argument is none of its choices, or there is no data folder.
        DataError: The folder holds no such data, or a file beside it is malformed.
    """

    label_values: ClassVar[Mapping[str, int]] = LABEL_VALUES
    """Short names of the structures that the data set labels, and their values in its masks."""
    splits: ClassVar[Sequence[str]] = ("ratio",)
    """The splits that it has, of `echozoo.datasets.splits.SCHEMES`."""

    def __init__(
        self,
        data_root: str | None = None,
        subset: str = "train",
        split: str = "ratio",
        split_seed: int = 0,
        clip_length: int | None = 8,
        frame_stride: int = 1,
        views: str | Sequence[str] = VIEWS,
        quality: str | Sequence[str] | None = None,
        structures: str | Sequence[str] | None = None,
        labels: str = "all",
        spread: bool = False,
        image_size: Sequence[int] | None = None,
        cache_dir: str | None = None,
        pipeline: Sequence = (),
        test_mode: bool = False,
        reach: int | None = 0,
        whole_films: bool = False,
        **kwargs,
    ) -> None:
        self.reach, self.whole_films = reach, whole_films and test_mode
        self.root = self.resolve_root(data_root)
        self.cache_dir = str(resolve_cache_dir(self.root, cache_dir))
        self.subset, self.split, self.split_seed = subset, split, split_seed
        self.clip_length, self.frame_stride = clip_length, frame_stride
        self.views = _several(views)
        self.quality = None if quality is None else _several(quality)
        wanted = tuple(self.label_values) if structures is None else _several(structures)
        self.structures = tuple(part.short for part in choose_structures(wanted))
        self.labels, self.spread = labels, spread
        self.image_size = None if image_size is None else tuple(image_size)
        self._check_choices()
        self._chosen: tuple[str, ...] | None = None
        # In shared memory: workers that live on from epoch to epoch see what is set here.
        self._epoch_and_seed = torch.zeros(2, dtype=torch.int64).share_memory_()
        # Built here because mmengine's own pipeline only knows the default scope's transforms.
        pipeline = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        metainfo = {"classes": self.structures, "palette": palette(self.structures)}
        super().__init__(
            data_root=str(self.root),
            data_prefix={},
            metainfo={**metainfo, **(kwargs.pop("metainfo", None) or {})},
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    # What a data set says ------------------------------------------------------------------------

    @abstractmethod
    def find_films(self, root: Path) -> Iterable[FilmFiles]:
        """Say where the films are.

        Those of other subsets, views and grades are left out afterwards; where looking is slow,
        `chosen` tells beforehand whose films are wanted, ``self.missing`` counts what is not
        there, for the notice, and ``self.problems`` takes a line for each film that is left out
        since something is wrong with it.

        Args:
            root: The data folder.
        """

    def windows(self, film: FilmFiles) -> list[tuple[int, ...] | None]:
        """Say which clips of a film are samples: their frames, or None for one at random."""
        if self.spread:
            return [spread_window(film.ends, self.clip_length)]
        if not self.test_mode:
            return [None]
        return tiling_windows(len(film), self.clip_length, self.frame_stride, self.reach)

    def split_patients(self, names: Sequence[str]) -> Iterable[str]:
        """Name the patients of this subset among all; a data set with lists of its own overrides.

        Args:
            names: All patients.
        """
        return split_patients(self.split, self.subset, names, self.root, self.split_seed)

    def resolve_root(self, data_root: str | None) -> Path:
        """The data folder.

        Raises:
            ConfigError: None is given.
            DataError: There is no such folder.
        """
        if not data_root:
            raise ConfigError("no data folder: pass --data-root FOLDER (data_root in a config)")
        root = Path(data_root).expanduser()
        if not root.is_dir():
            raise DataError(
                f"{root}: no such folder; pass --data-root FOLDER (data_root in a config)"
            )
        return root

    # What it has for that ------------------------------------------------------------------------

    def chosen(self, names: Iterable[str]) -> tuple[str, ...]:
        """The patients of this subset among all on disk, sorted; decided once."""
        if self._chosen is None:
            self._chosen = tuple(sorted(self.split_patients(sorted(set(names)))))
        return self._chosen

    def film(
        self,
        patient: str,
        view: str,
        image: str | Path,
        labels: str | Path | Mapping[int, str | Path | tuple[str | Path, int]],
        instants: Mapping[int, str] | None = None,
        **about: str | None,
    ) -> FilmFiles:
        """Describe a film in one file of any kind that `echozoo.films` reads.

        Args:
            patient: Whose it is.
            view: "2CH" or "4CH".
            image: The film.
            labels: A file with a mask for every frame, or by frame, from 0, the file of its mask;
                or that and the mask's place in it. Frames that are not named have none.
            instants: "ED" and "ES" by frame.
            **about: ``quality`` and ``sequence`` of `FilmFiles`.

        Raises:
            DataError: A view or an instant is none of these, or a frame is not in the film.
        """
        unknown = {view} - {*VIEWS} or {*(instants or {}).values()} - {"ED", "ES", ""}
        if unknown:
            raise DataError(
                f"{image}: found {min(unknown)!r}, wanted {' or '.join(VIEWS)} as the view, and ED"
                " and ES as the instants of frames"
            )
        frames = range(cached_length(image, self.cache_dir))
        image, instants = str(image), instants or {}
        if isinstance(labels, (str, Path)):
            files = [FrameFiles(image, str(labels), frame) for frame in frames]
        else:
            beyond = {*labels, *instants} - {*frames}
            if beyond:
                raise DataError(
                    f"{image}: a film of {len(frames)} frames, labels or instants are named for"
                    f" {min(beyond)}; wanted 0 to {len(frames) - 1}"
                )
            places = {k: p if isinstance(p, tuple) else (p, 0) for k, p in labels.items()}
            files = [
                FrameFiles(image, str(places[k][0]), k, places[k][1])
                if k in places
                else FrameFiles(image, None, k)
                for k in frames
            ]
        marks = tuple(instants.get(frame, "") for frame in frames)
        return FilmFiles(patient, view, tuple(files), marks, **about)

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Choose the randomness of the samples from now on, in running workers too.

        Args:
            epoch: From 0; without effect in test mode.
            seed: The run's seed, from 0.
        """
        self._epoch_and_seed[:] = torch.tensor([epoch, seed])

    def films(self) -> list[FilmFiles]:
        """Find the films of the patients of this subset."""
        self.missing: Counter[str] = Counter()
        self.problems: list[str] = []
        self._chosen = None
        films = list(self.find_films(self.root))
        chosen = self.chosen(film.patient for film in films)
        films = [film for film in films if film.patient in chosen]
        return films if self.labels == "all" else [film.labelled_at_ends() for film in films]

    def load_data_list(self) -> list[dict]:
        """Find the films of this subset; each entry is a film and, in test mode, its frames."""
        films = self.films()
        wanted = [film for film in films if self._is_wanted(film)]
        samples = [entry for film in wanted for entry in self._entries(film)]
        self._report(len(self.chosen(())), len(samples))
        return samples

    def prepare_data(self, idx: int) -> dict:
        """Make sample ``idx``: its description and its random generator, through the pipeline."""
        entry = self.get_data_info(idx)
        epoch, seed = self._epoch_and_seed.tolist()
        rng = np.random.default_rng((seed, 0 if self.test_mode else epoch, entry["sample_idx"]))
        film, frames = entry["film"], entry["frames"]
        if frames is None:
            frames = random_window(
                len(film), self.clip_length, self.frame_stride, rng, film.labelled
            )
        results = {
            **film.clip(frames),
            "rng": rng,
            "structures": self.structures,
            "label_values": self.label_values,
            "image_size": self.image_size,
            "cache_dir": self.cache_dir,
            "data_root": self.data_root,
            "test_mode": self.test_mode,
            "sample_idx": entry["sample_idx"],
        }
        if "clips" in entry:
            results["clips"] = entry["clips"]
        return self.pipeline(results)

    def _entries(self, film: FilmFiles) -> list[dict]:
        windows = self.windows(film)
        if self.whole_films:
            return [{"film": film, "frames": tuple(range(len(film))), "clips": tuple(windows)}]
        return [{"film": film, "frames": frames} for frames in windows]

    def _check_choices(self) -> None:
        if self.split not in self.splits or self.subset not in SUBSETS:
            raise ConfigError(
                f"split={self.split!r}, subset={self.subset!r}: wanted one of"
                f" {', '.join(self.splits)}, and one of {', '.join(SUBSETS)}"
            )
        if not set(self.structures) & set(self.label_values):
            raise ConfigError(
                f"structures={self.structures!r}: {type(self).__name__} labels"
                f" {', '.join(self.label_values)}, wanted one of them at least"
            )
        if self.labels not in ("all", "ends"):
            raise ConfigError(f"labels={self.labels!r}: wanted 'all' or 'ends'")
        for name, value in (("clip_length", self.clip_length), ("frame_stride", self.frame_stride)):
            if not (name == "clip_length" and value is None) and value < 1:
                raise ConfigError(f"{name}={value!r}: wanted 1 or more")
        for name, values, choices in (
            ("views", self.views, VIEWS),
            ("quality", QUALITIES if self.quality is None else self.quality, QUALITIES),
        ):
            if not values or not set(values) <= set(choices):
                raise ConfigError(f"{name}={values!r}: wanted a list of {', '.join(choices)}")

    def _is_wanted(self, film: FilmFiles) -> bool:
        if film.view not in self.views:
            return False
        if self.quality is not None and film.quality not in self.quality:
            self.missing["views of the quality asked for"] += 1
            return False
        self.missing["masks of films"] += not film.labelled
        return self.test_mode or bool(film.labelled)

    def _report(self, num_patients: int, num_samples: int) -> None:
        absent = ", ".join(f"{what} ({count})" for what, count in self.missing.items() if count)
        where = f"{self.root}, subset {self.subset!r}"
        if not num_samples:
            raise DataError(
                f"{where}: no sample in {num_patients} patients, wanted at least one; absent:"
                f" {absent or 'nothing'}; choose other views, quality or frames, or complete the"
                f" data{'; ' + self.problems[0] if self.problems else ''}"
            )
        if self.problems:
            notice(
                f"{where}: {len(self.problems)} films are left out ({self.problems[0]}"
                f"{', …' if len(self.problems) > 1 else ''}); echozoo check names each"
            )
        if absent:
            notice(f"{where}: {num_samples} samples of {num_patients} patients; absent: {absent}")


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name, as `--cfg-options` gives it, or several."""
    return (names,) if isinstance(names, str) else tuple(names)
