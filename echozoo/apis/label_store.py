"""Label maps of a whole film, kept in a file, and what is done to them when all are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from echozoo.datasets.anatomy import LABEL_VALUES
from echozoo.films.film import EchoFilm
from echozoo.films.readers.source import no_space, temporary_file
from echozoo.postprocessing import Postprocessing

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
        try:
            self._file.flush()
        except OSError as error:
            raise no_space(error) from error
        self._file.seek(start * self._bytes)
        labels = np.fromfile(self._file, np.uint8, (stop - start) * self._bytes)
        return labels.reshape(stop - start, *self.shape[1:])  # (n, H, W)

    def __getitem__(self, frames: slice) -> np.ndarray:
        """Label maps (n, H, W) uint8 of a range of frames."""
        start, stop, _ = frames.indices(self.shape[0])
        return self.read(start, max(start, stop))

    def like(self, labels: Iterator[np.ndarray]) -> LabelStore:
        """A store of the same shape, of the film's maps in their order."""
        store = LabelStore(self.shape)
        for frame, one in enumerate(labels):
            store.put(frame, one)
        return store


def finished(
    chain: Postprocessing,
    film: EchoFilm,
    structures: Sequence[str],
    labelled: Labelled,
    pinned: Sequence[int] = (),
) -> Labelled:
    """Give label maps as they come, then all once more, if steps look at the whole film.

    Args:
        chain: The model's steps.
        film: The film.
        structures: Short names of those that the maps show.
        labelled: Frame index and label map (H, W) uint8 with CAMUS's labels, in any order.
        pinned: Frames that the steps leave as they are.

    Yields:
        Frame index and label map: what comes last of a frame counts.
    """
    if not chain.film_steps:
        yield from labelled
        return
    store = LabelStore((film.num_frames, *film.size))
    for frame, labels in labelled:
        store.put(frame, labels)
        yield frame, labels
    values = {name: LABEL_VALUES[name] for name in structures}
    final = chain.finish(store, values, film.spacing, pinned, store.like)
    for frame in range(film.num_frames):
        yield frame, final[frame : frame + 1][0]
