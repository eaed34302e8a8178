"""Hooks that leave pictures behind: overlay films of a test, curves of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import gather_object, is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor

from echozoo.errors import DataError
from echozoo.evaluation.metrics.case_metric import counted_cases
from echozoo.registry import HOOKS
from echozoo.structures import EchoDataSample
from echozoo.visualization.cases import ExtremeCases
from echozoo.visualization.curves import plot_curves
from echozoo.visualization.film import comparison, display_size, write_gif


@dataclass
class _SeenFilm:
    """What has been seen of one sequence: by frame what `_frames_of` yields of it."""

    sample: EchoDataSample
    frames: dict[int, tuple] = field(default_factory=dict)

    def pictures(self, height: int) -> list[np.ndarray]:
        """Return a picture a frame, in the order of the film."""
        meta = self.sample
        size = display_size(meta.native_size, meta.spacing, height)
        title = f"{meta.patient} · {meta.view}"
        pictures = []
        for frame, (instant, *maps, counted) in sorted(self.frames.items()):
            place = f"frame {frame}" + (f" · {instant}" if instant else "")
            pictures.append(comparison(*maps, meta.structures, size, title, place, counted))
        return pictures


def _frames_of(
    inputs: Tensor, sample: EchoDataSample
) -> Iterator[tuple[int, str, np.ndarray, np.ndarray, np.ndarray, list[bool]]]:
    """Yield frame, instant, image, reference, prediction and what counts of each frame."""
    height, width = sample.valid_size
    images = inputs[:, 0, :height, :width].clamp(0, 255).to(torch.uint8).cpu().numpy()
    references, predictions = sample.native_labels.cpu().numpy(), sample.pred_labels.cpu().numpy()
    maps, cases = (images, references, predictions), counted_cases(sample).tolist()
    yield from zip(sample.frames, sample.instants, *maps, cases, strict=True)


@HOOKS.register_module()
class OverlayHook(Hook):
    """Write pictures of a test: reference and prediction side by side.

    The first sequences become films, ``<work_dir>/overlays/<sequence>.gif``, or ``.png`` where one
    has a single frame: clips of one sequence become one film. The images with the best and the
    worst mean Dice become ``<work_dir>/cases/best_1.png`` … and ``worst_1.png`` …, at most one of
    a sequence, described by ``cases.json`` there; no others are held in memory. Under several
    processes both are joined from all of them.

    Args:
        num_films: How many sequences, in the order of the test set.
        num_cases: How many images at either end.
        fps: Frames a second; a film of fewer frames lasts one second.
        height: Height of a panel in pixels.
    """

    def __init__(
        self, num_films: int = 2, num_cases: int = 4, fps: float = 8, height: int = 360
    ) -> None:
        self.num_films = num_films
        self.num_cases = num_cases
        self.fps = fps
        self.height = height
        self._forget()

    def _forget(self) -> None:
        self._films: dict[str, _SeenFilm] = {}
        self._cases = ExtremeCases(self.num_cases)

    def before_test(self, runner: Runner) -> None:
        """Forget what an earlier test has left."""
        self._forget()

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[EchoDataSample] | None = None,
    ) -> None:
        """Keep the frames of the first sequences, and images that may be the best or the worst."""
        for inputs, sample in zip(data_batch["inputs"], outputs, strict=True):
            name, meta = sample.sequence, EchoDataSample(metainfo=sample.metainfo)
            if name not in self._films and len(self._films) < self.num_films:
                self._films[name] = _SeenFilm(meta)
            for frame, *seen in _frames_of(inputs, sample):
                if name in self._films:  # a frame that another clip has brought already is left
                    self._films[name].frames.setdefault(frame, seen)
                self._cases.offer(meta, frame, *seen)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the films and the cases, on the first process."""
        shares = gather_object((self._films, self._cases))
        self._forget()
        if not is_main_process():
            return
        self._write_films(runner, [films for films, _ in shares])
        if self.num_cases:
            cases = ExtremeCases(self.num_cases)
            cases.join(share for _, share in shares)
            folder = Path(runner.work_dir) / "cases"
            cases.write(folder, self.height)
            runner.logger.info(f"Best and worst images: {folder}")

    def _write_films(self, runner: Runner, shares: Sequence[dict[str, _SeenFilm]]) -> None:
        films: dict[str, _SeenFilm] = {}
        for share in shares:
            for name, film in share.items():
                films.setdefault(name, film).frames.update(film.frames)
        folder = Path(runner.work_dir) / "overlays"
        folder.mkdir(parents=True, exist_ok=True)
        for name in list(films)[: self.num_films]:
            path = self._write(folder / name, films[name].pictures(self.height))
            runner.logger.info(f"Overlay film: {path}")

    def _write(self, stem: Path, pictures: list[np.ndarray]) -> Path:
        if len(pictures) == 1:
            path = stem.with_suffix(".png")
            Image.fromarray(pictures[0]).save(path)
        else:
            path = stem.with_suffix(".gif")
            write_gif(path, pictures, min(self.fps, len(pictures)))
        return path


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw ``<work_dir>/curves.png`` after every validation and at the end of a training.

    Runs resumed in the same working directory are joined. Where no LocalVisBackend writes
    scalars there is nothing to draw.
    """

    priority = "LOWEST"  # after the LoggerHook has written the epoch's scalars

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the curves so far."""
        self._draw(runner)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw the final curves."""
        self._draw(runner)

    def _draw(self, runner: Runner) -> None:
        try:
            plot_curves(runner.work_dir, Path(runner.work_dir) / "curves.png")
        except DataError as error:
            runner.logger.debug(str(error))
