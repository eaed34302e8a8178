"""Hooks that leave pictures behind: overlay films of a test, curves of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.dist import gather_object, is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from echozoo.errors import DataError
from echozoo.registry import HOOKS
from echozoo.structures import EchoDataSample
from echozoo.visualization.curves import plot_curves
from echozoo.visualization.film import comparison, display_size, write_gif


@dataclass
class _Film:
    """What has been seen of one sequence: frame index -> image, reference, prediction, instant."""

    sample: EchoDataSample
    frames: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, str]] = field(default_factory=dict)

    def add(self, inputs: np.ndarray, sample: EchoDataSample) -> None:
        """Add the frames of a clip; frames that another clip has brought already are left."""
        height, width = sample.valid_size
        references = sample.native_labels.cpu().numpy()
        predictions = sample.pred_labels.cpu().numpy()
        for i, frame in enumerate(sample.frames):
            image = inputs[i, 0, :height, :width].clip(0, 255).astype(np.uint8)
            seen = (image, references[i], predictions[i], sample.instants[i])
            self.frames.setdefault(frame, seen)

    def pictures(self, height: int) -> list[np.ndarray]:
        """Return a picture a frame, in the order of the film."""
        meta = self.sample
        size = display_size(meta.native_size, meta.spacing, height)
        title = f"{meta.patient} · {meta.view}"
        pictures = []
        for frame, (image, reference, prediction, instant) in sorted(self.frames.items()):
            place = f"frame {frame}" + (f" · {instant}" if instant else "")
            pictures.append(
                comparison(image, reference, prediction, meta.structures, size, title, place)
            )
        return pictures


@HOOKS.register_module()
class OverlayHook(Hook):
    """Write the first sequences of a test as films: reference and prediction side by side.

    Clips of one sequence become one film, ``<work_dir>/overlays/<sequence>.gif``, or ``.png``
    where it has a single frame. Under several processes the films are joined from all of them.

    Args:
        num_films: How many sequences, in the order of the test set.
        fps: Frames a second; a film of fewer frames lasts one second.
        height: Height of a panel in pixels.
    """

    def __init__(self, num_films: int = 2, fps: float = 8, height: int = 360) -> None:
        self.num_films = num_films
        self.fps = fps
        self.height = height
        self._films: dict[str, _Film] = {}

    def before_test(self, runner: Runner) -> None:
        """Forget the films of an earlier test."""
        self._films = {}

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[EchoDataSample] | None = None,
    ) -> None:
        """Keep the frames of the first sequences."""
        for inputs, sample in zip(data_batch["inputs"], outputs, strict=True):
            name = sample.sequence
            if name not in self._films and len(self._films) < self.num_films:
                meta = EchoDataSample(metainfo=sample.metainfo)
                self._films[name] = _Film(meta)
            if name in self._films:
                self._films[name].add(inputs.cpu().numpy(), sample)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the films, on the first process."""
        shares = gather_object(self._films)
        self._films = {}
        if not is_main_process():
            return
        films: dict[str, _Film] = {}
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
