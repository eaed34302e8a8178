"""Label maps of a whole film, a few frames at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from echozoo.apis.model import LoadedModel
from echozoo.apis.prompt_files import FilmPrompts
from echozoo.apis.prompts import masks_of, prompted_piece, prompts_from_masks
from echozoo.apis.session import ClickSession
from echozoo.datasets.anatomy import choose_structures
from echozoo.datasets.films import tiling_windows
from echozoo.films.film import EchoFilm
from echozoo.films.readers.source import no_space, temporary_file

Labelled = Iterator[tuple[int, np.ndarray]]


class LabelStore:
    """Label maps of a film in a nameless temporary file, written in any order.

    Args:
        shape: (T, H, W).
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._file = temporary_file()
        self._bytes = shape[1] * shape[2]

    def put(self, frame: int, labels: np.ndarray) -> None:
        """Store one label map (H, W) uint8."""
        try:
            self._file.seek(frame * self._bytes)
            self._file.write(np.ascontiguousarray(labels, np.uint8).data)
        except OSError as error:
            raise no_space(error) from error

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return label maps (n, H, W) uint8."""
        stop = self.shape[0] if stop is None else stop
        self._file.flush()
        self._file.seek(start * self._bytes)
        labels = np.fromfile(self._file, np.uint8, (stop - start) * self._bytes)
        return labels.reshape(stop - start, *self.shape[1:])  # (n, H, W)


def label_without_prompts(loaded: LoadedModel, film: EchoFilm, batch_size: int) -> Labelled:
    """Run a model that needs no prompts over a film.

    A model with temporal modules sees clips of the length that it was trained on, one after the
    other, the last one shifted back to end with the film (as in testing); all others see
    ``batch_size`` frames at a time. Where logits are smoothed over time, neighbouring passes
    overlap by the reach of the smoothing, and the middle of each is taken.

    Args:
        loaded: The model.
        film: The film.
        batch_size: Frames of a pass.

    Yields:
        Frame index and label map (H0, W0) uint8 with CAMUS's labels, in the film's order.
    """
    table = _label_table(loaded)
    for indices, wanted in _passes(loaded, film.num_frames, batch_size):
        first = min(indices)
        frames = film.frames(first, max(indices) + 1)[np.array(indices) - first]
        labels = loaded.predict(frames, film.spacing, indices).pred_labels.cpu().numpy()
        for index in wanted:
            yield index, table[labels[indices.index(index)]]


def label_with_prompts(
    loaded: LoadedModel, film: EchoFilm, prompts: FilmPrompts, batch_size: int
) -> Labelled:
    """Segment the prompted frame, and carry its masks through the film both ways.

    Yields:
        As `label_without_prompts`, but the prompted frame first, then those after it, then those
        before it.
    """
    session = ClickSession(loaded, film, ahead=batch_size)
    first = session.segment_all(prompts.frame, prompts.structures)
    masks = {
        name: prompted_piece(mask, prompts.structures[name])
        for name, mask in masks_of(first, list(prompts.structures)).items()
    }
    if film.num_frames == 1 or not first.any():
        yield from (
            (i, first if i == prompts.frame else np.zeros_like(first))
            for i in range(film.num_frames)
        )
        return
    for index, labels in session.carry(prompts.frame, masks):
        yield index, first if index == prompts.frame else labels


def label_automatically(
    loaded: LoadedModel, coarse: LoadedModel, film: EchoFilm, batch_size: int
) -> Labelled:
    """Let a model that needs no prompts find the structures, and prompt another with its masks.

    Yields:
        As `label_without_prompts`.
    """
    session = ClickSession(loaded, film, ahead=batch_size)
    shared = [name for name in loaded.structures if name in coarse.structures]
    for index, labels in label_without_prompts(coarse, film, batch_size):
        masks: Mapping[str, np.ndarray] = masks_of(labels, shared)
        prompts = prompts_from_masks(masks, loaded.prompts)
        yield index, session.segment_all(index, prompts)


def _label_table(loaded: LoadedModel) -> np.ndarray:
    """From labels counted in the model's order to CAMUS's."""
    return np.array([0, *map(int, choose_structures(loaded.structures))], np.uint8)


def _passes(
    loaded: LoadedModel, length: int, batch_size: int
) -> Iterator[tuple[tuple[int, ...], range]]:
    """Frames of each pass, and those of them whose labels are taken."""
    reach = _reach(loaded, batch_size)
    size = loaded.clip_length
    if size > 1 and length <= size:
        yield tiling_windows(length, size, 1)[0], range(length)  # to and fro
    elif size > 1:
        reach, done = min(reach, (size - 1) // 2), 0
        for start in range(0, length - 2 * reach, size - 2 * reach):
            start = min(start, length - size)
            stop = length if start + size == length else start + size - reach
            yield tuple(range(start, start + size)), range(done, stop)
            done = stop
    else:
        for start in range(0, length, batch_size):
            stop = min(start + batch_size, length)
            frames = range(max(start - reach, 0), min(stop + reach, length))
            yield tuple(frames), range(start, stop)


def _reach(loaded: LoadedModel, batch_size: int) -> int:
    """Frames on each side that the smoothing of logits looks at; 0 without any."""
    steps = loaded.model.postprocessing.logit_steps
    sigmas = [getattr(step, "sigma_frames", None) for step in steps]
    return max((batch_size if s is None else int(np.ceil(3 * s)) for s in sigmas), default=0)
