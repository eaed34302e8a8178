"""The CAMUS data set: clips of two- and four-chamber films with their masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from echozoo.datasets.anatomy import QUALITIES, STRUCTURES, VIEWS, choose_structures, palette
from echozoo.datasets.films import (
    Film,
    random_window,
    sequence_film,
    still_film,
    tiling_windows,
)
from echozoo.datasets.info import Info, read_info
from echozoo.datasets.layout import ViewFiles, find_patients, resolve_data_root, scan_patient
from echozoo.datasets.splits import split_patients
from echozoo.errors import ConfigError, DataError
from echozoo.films.cache import resolve_cache_dir
from echozoo.notices import notice
from echozoo.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class CAMUSDataset(BaseDataset):
    """Clips of CAMUS, in the layout of 2023 (NIfTI) or the older one (.mhd).

    It takes what is on disk (one view, no sequences, no Info files, no ES) and says in one line
    what is missing. A sample is reproducible: all its randomness comes from
    ``results["rng"]``, made from (seed, epoch, index), whatever the number of workers.

    Args:
        data_root: The folder that holds ``database_nifti/``, the patients' folders themselves, or
            the older ``training/`` and ``testing/``. None or "" is the environment's CAMUS_ROOT.
        subset: "train", "val" or "test".
        split: One of `echozoo.datasets.splits.SCHEMES`.
        split_seed: Of the splits "ratio" and "mini".
        frames: "sequence" for films (in training one random clip of each film an epoch, in test
            mode clips that cover all its frames), or "ed_es" for the two stills. Where no patient
            has a film with masks, "sequence" means "ed_es".
        clip_length: Frames of a clip, T. None is the whole film. Stills are single images where
            it is 1, otherwise clips of two frames (ED, ES); one that is missing is replaced by
            the other.
        frame_stride: From one frame of a clip to the next, in films.
        views: "2CH", "4CH" or both.
        quality: Grades to keep, of "Good", "Medium" and "Poor"; None keeps all. A view without an
            Info file has no grade and is left out where grades are asked for.
        structures: "lv", "myo", "la" or some of them: the others become background.
        image_size: Size (H, W) of the network's input, for the `ResizeClip` or
            `LoadResizedClip` of the pipeline.
        cache_dir: Folder for decoded volumes and resized frames, see `resolve_cache_dir`.
        pipeline: Transforms; the first is `LoadClip` or `LoadResizedClip`.
        test_mode: Whether samples are fixed and keep their native labels.
        **kwargs: Passed on to mmengine's BaseDataset (``indices``, ``lazy_init`` …).

    Raises:
        ConfigError: An argument is none of its choices, or there is no data folder.
        DataError: The folder holds no such data, or a list or an Info file is malformed.
    """

    METAINFO = {"classes": STRUCTURES, "palette": palette()}

    def __init__(
        self,
        data_root: str | None = None,
        subset: str = "train",
        split: str = "files",
        split_seed: int = 0,
        frames: str = "sequence",
        clip_length: int | None = 8,
        frame_stride: int = 1,
        views: str | Sequence[str] = VIEWS,
        quality: str | Sequence[str] | None = None,
        structures: str | Sequence[str] = STRUCTURES,
        image_size: Sequence[int] | None = None,
        cache_dir: str | None = None,
        pipeline: Sequence = (),
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        self.root = resolve_data_root(data_root)
        self.cache_dir = str(resolve_cache_dir(self.root, cache_dir))
        self.subset, self.split, self.split_seed = subset, split, split_seed
        self.frames, self.clip_length, self.frame_stride = frames, clip_length, frame_stride
        self.views = _several(views)
        self.image_size = None if image_size is None else tuple(image_size)
        self.quality = None if quality is None else _several(quality)
        self.structures = tuple(part.short for part in choose_structures(_several(structures)))
        self._check_choices()
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

    def set_epoch(self, epoch: int, seed: int) -> None:
        """Choose the randomness of the samples from now on, in running workers too.

        Args:
            epoch: From 0; without effect in test mode.
            seed: The run's seed, from 0.
        """
        self._epoch_and_seed[:] = torch.tensor([epoch, seed])

    def load_data_list(self) -> list[dict]:
        """Find the films of this subset; each entry is a film and, in test mode, its frames."""
        folders = find_patients(self.root)
        chosen = set(
            split_patients(self.split, self.subset, list(folders), self.root, self.split_seed)
        )
        scanned = [
            files
            for patient, folder in folders.items()
            for files in scan_patient(patient, folder)
            if files.view in self.views
        ]
        # Decided on all patients, so that the three subsets of a run are alike.
        as_films = self.frames == "sequence" and self._any_film(scanned)
        missing: Counter[str] = Counter()
        films = []
        for files in scanned:
            if files.patient in chosen:
                film = self._read_film(files, as_films, missing)
                films += [film] if film else []
        samples = [sample for film in films for sample in self._cut(film, as_films)]
        self._report(len(chosen), len(samples), missing)
        return samples

    def prepare_data(self, idx: int) -> dict:
        """Make sample ``idx``: its description and its random generator, through the pipeline."""
        entry = self.get_data_info(idx)
        epoch, seed = self._epoch_and_seed.tolist()
        rng = np.random.default_rng((seed, 0 if self.test_mode else epoch, entry["sample_idx"]))
        film, frames = entry["film"], entry["frames"]
        if frames is None:
            frames = random_window(len(film), self.clip_length, self.frame_stride, rng)
        results = {
            **film.clip(frames),
            "rng": rng,
            "structures": self.structures,
            "image_size": self.image_size,
            "cache_dir": self.cache_dir,
            "data_root": self.data_root,
            "test_mode": self.test_mode,
            "sample_idx": entry["sample_idx"],
        }
        return self.pipeline(results)

    def _check_choices(self) -> None:
        if self.frames not in ("sequence", "ed_es"):
            raise ConfigError(f"frames={self.frames!r}: wanted 'sequence' or 'ed_es'")
        for name, value in (("clip_length", self.clip_length), ("frame_stride", self.frame_stride)):
            if not (name == "clip_length" and value is None) and value < 1:
                raise ConfigError(f"{name}={value!r}: wanted 1 or more")
        for name, values, choices in (
            ("views", self.views, VIEWS),
            ("quality", QUALITIES if self.quality is None else self.quality, QUALITIES),
        ):
            if not values or not set(values) <= set(choices):
                raise ConfigError(f"{name}={values!r}: wanted a list of {', '.join(choices)}")

    def _any_film(self, scanned: list[ViewFiles]) -> bool:
        found = any(files.film and files.film.label for files in scanned)
        if not found:
            notice(f"{self.root}: no sequence with masks: ED and ES stills are taken instead")
        return found

    def _read_film(self, files: ViewFiles, as_films: bool, missing: Counter[str]) -> Film | None:
        """The film of a view, or None where it is left out; counts what is not there."""
        if not files.has_images:
            missing[f"{files.view} images"] += 1
            return None
        missing["Info files"] += files.info is None
        info = read_info(files.info) if files.info else Info()
        if self.quality is not None and info.quality not in self.quality:
            missing["views of the quality asked for"] += 1
            return None
        if not as_films:
            film = still_film(files, info)
            for instant, pair in files.stills.items():
                missing[f"{instant} masks"] += pair.label is None
            missing["ED or ES images"] += len(files.stills) < 2
            return film if len(film) else None
        if not files.film or not files.film.label:
            missing["sequences" if not files.film else "masks of sequences"] += 1
            return None
        film, known = sequence_film(files, info)
        missing["usable ED and ES of Info files"] += files.info is not None and not known
        return film

    def _cut(self, film: Film, as_films: bool) -> list[dict]:
        if as_films and not self.test_mode:
            return [{"film": film, "frames": None}]
        if as_films:
            windows = tiling_windows(len(film), self.clip_length, self.frame_stride)
        elif self.clip_length == 1:
            windows = [(frame,) for frame in range(len(film))]
        else:
            windows = [(0, len(film) - 1)]
        return [{"film": film, "frames": frames} for frames in windows]

    def _report(self, num_patients: int, num_samples: int, missing: Counter[str]) -> None:
        absent = ", ".join(f"{what} ({count})" for what, count in missing.items() if count)
        where = f"{self.root}, subset {self.subset!r}"
        if not num_samples:
            raise DataError(
                f"{where}: no sample in {num_patients} patients, wanted at least one; absent:"
                f" {absent}; choose other views, quality or frames, or complete the data"
            )
        if absent:
            notice(f"{where}: {num_samples} samples of {num_patients} patients; absent: {absent}")


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name, as `--cfg-options` gives it, or several."""
    return (names,) if isinstance(names, str) else tuple(names)
