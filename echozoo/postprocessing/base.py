"""The three kinds of steps, and the chain that a config makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from echozoo.errors import ConfigError
from echozoo.registry import POSTPROCESSING

Spacing = tuple[float, float]


class LogitStep(ABC):
    """A step on logits, before they are compared with each other.

    Attributes:
        reach: Frames on each side of a frame that its result depends on; None is the whole clip.
    """

    reach: int | None = None

    @abstractmethod
    def __call__(self, logits: np.ndarray, frames: Sequence[int]) -> np.ndarray:
        """Change the logits of a clip.

        Args:
            logits: (T, K, h, w) float32, of any resolution.
            frames: The T places in the film, from 0; one may come twice.

        Returns:
            Logits of the same shape, a new array.
        """


class MaskStep(ABC):
    """A step on masks, on the grid of the image file."""

    @abstractmethod
    def __call__(
        self, masks: np.ndarray, structures: Sequence[str], spacing: Spacing | None
    ) -> np.ndarray:
        """Change the masks of one image.

        Args:
            masks: (K, H, W) bool. Background is what is in no mask; no two overlap.
            structures: The K short names.
            spacing: (dy, dx) in mm a pixel, or None where unknown.

        Returns:
            Masks of the same shape, a new array.
        """


class FilmLabels(Protocol):
    """Label maps (T, H, W) uint8 of a whole film: an array, or what reads some frames at a time."""

    shape: tuple[int, int, int]

    def __getitem__(self, frames: slice) -> np.ndarray:
        """Label maps (n, H, W) of a range of frames."""


class FilmStep(ABC):
    """A step on the label maps of a whole film, on the grid of the image file.

    It reads a film a few frames at a time, so that its memory does not grow with the film.
    """

    @abstractmethod
    def __call__(
        self,
        labels: FilmLabels,
        values: Mapping[str, int],
        spacing: Spacing | None = None,
        pinned: Sequence[int] = (),
    ) -> Iterator[np.ndarray]:
        """Change the label maps of a film.

        Args:
            labels: (T, H, W), 0 for background. T = 1 is legal.
            values: By structure its value in the maps.
            spacing: (dy, dx) in mm a pixel, or None where unknown.
            pinned: Frames, from 0, that are known to be right: prompted or labelled ones.

        Yields:
            The T maps (H, W) in their order.
        """


class Postprocessing:
    """Steps in the order of a config: those on logits, then on masks, then on films.

    Steps on masks start from the label map, as pieces and holes are those that a user sees in it.
    Masks that a network lets overlap do so no longer after them, which changes their Dice too.

    Args:
        steps: Configs of steps, ``dict(type="LargestComponent")``, or steps; empty
            for a chain that does nothing.

    Raises:
        ConfigError: A step is of neither kind.
    """

    def __init__(self, steps: Sequence[dict | LogitStep | MaskStep | FilmStep]) -> None:
        built = [POSTPROCESSING.build(step) if isinstance(step, dict) else step for step in steps]
        for step in built:
            if not isinstance(step, LogitStep | MaskStep | FilmStep):
                raise ConfigError(
                    f"postprocessing: {type(step).__name__} is neither a LogitStep nor a MaskStep"
                    " nor a FilmStep; let it extend one of them"
                )
        self.logit_steps = [step for step in built if isinstance(step, LogitStep)]
        self.mask_steps = [step for step in built if isinstance(step, MaskStep)]
        self.film_steps = [step for step in built if isinstance(step, FilmStep)]

    @property
    def rounds(self) -> int:
        """How often a film's label maps come: as they are, and again where steps need them all."""
        return 2 if self.film_steps else 1

    @property
    def reach(self) -> int | None:
        """Frames on each side of a frame that its logits depend on; None is the whole clip."""
        reaches = [step.reach for step in self.logit_steps]
        return None if None in reaches else sum(reaches)

    def smooth(self, logits: np.ndarray, frames: Sequence[int]) -> np.ndarray:
        """Run the steps on logits (T, K, h, w); ``frames`` are their T places in the film."""
        for step in self.logit_steps:
            logits = step(logits, frames)
        return logits

    def clean(
        self, masks: np.ndarray, structures: Sequence[str], spacing: Spacing | None
    ) -> np.ndarray:
        """Run the steps on masks (T, K, H, W), image by image."""
        for step in self.mask_steps:
            masks = np.stack([step(image, structures, spacing) for image in masks])
        return masks

    def finish(
        self,
        labels: FilmLabels,
        values: Mapping[str, int],
        spacing: Spacing | None = None,
        pinned: Sequence[int] = (),
        gather: Callable[[Iterator[np.ndarray]], FilmLabels] = lambda maps: np.stack(list(maps)),
    ) -> FilmLabels:
        """Run the steps on the label maps (T, H, W) of a film; ``gather`` keeps what one yields."""
        for step in self.film_steps:
            labels = gather(step(labels, values, spacing, pinned))
        return labels
