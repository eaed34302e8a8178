"""The two kinds of steps, and the chain that a config makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

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


class Postprocessing:
    """Steps in the order of a config: those on logits, then those on masks.

    Steps on masks start from the label map, as pieces and holes are those that a user sees in it.
    Masks that a network lets overlap do so no longer after them, which changes their Dice too.

    Args:
        steps: Configs of steps, ``dict(type="LargestComponent")``,, or steps; empty
            for a chain that does nothing.

    Raises:
        ConfigError: A step is of neither kind.
    """

    def __init__(self, steps: Sequence[dict | LogitStep | MaskStep]) -> None:
        built = [POSTPROCESSING.build(step) if isinstance(step, dict) else step for step in steps]
        for step in built:
            if not isinstance(step, LogitStep | MaskStep):
                raise ConfigError(
                    f"postprocessing: {type(step).__name__} is neither a LogitStep nor a MaskStep;"
                    " let it extend one of them"
                )
        self.logit_steps = [step for step in built if isinstance(step, LogitStep)]
        self.mask_steps = [step for step in built if isinstance(step, MaskStep)]

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
