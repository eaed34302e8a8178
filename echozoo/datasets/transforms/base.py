"""What the random transforms of a clip share."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from mmcv.transforms import BaseTransform


class RandomTransform(BaseTransform):
    """A transform that acts on a clip with some probability.

    The only source of randomness is ``results["rng"]``, which the data set makes from the seed,
    the epoch and the index of the clip: results depend neither on workers nor on processes.

    Args:
        prob: Chance that the transform acts, decided once for all frames of the clip.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Draw once, and act or leave the clip as it is."""
        if results["rng"].random() < self.prob:
            self.act(results, results["rng"])
        return results

    @abstractmethod
    def act(self, results: dict, rng: np.random.Generator) -> None:
        """Change the clip in place; called only where the draw says so."""


def valid_size(results: dict) -> tuple[int, int]:
    """Return the size (h, w) of the part of the clip that holds image, from the top left corner.

    It is the whole frame unless `ResizeClip` has padded it.
    """
    return results.get("valid_size", results["images"].shape[1:])


def labelled(results: dict) -> np.ndarray:
    """Return which structures of which frames have a reference, (T, K) bool.

    All, where a loading step of another kind than ours has not said it.
    """
    if "labelled" in results:
        return results["labelled"]
    return np.ones((len(results["images"]), len(results["structures"])), bool)


def pixel_size(results: dict) -> tuple[float, float]:
    """Return the size (dy, dx) of a pixel of the clip as it is now, after any resizing.

    In mm; where the spacing is unknown in native pixels, which are then taken for square.
    """
    (dy, dx), (h, w) = results.get("spacing") or (1.0, 1.0), valid_size(results)
    height, width = results.get("native_size", (h, w))
    return dy * height / h, dx * width / w


def beam_coordinates(results: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return depth and angle (H, W) of each pixel, seen from the transducer.

    The transducer sits at the middle of the upper border, as in apical views. Depth is 1 at the
    lower border straight below it; the angle is in degrees, 0 straight down.
    """
    dy, dx = pixel_size(results)
    (height, width), shape = valid_size(results), results["images"].shape[1:]
    down = np.arange(shape[0], dtype=np.float32)[:, None] * dy
    across = (np.arange(shape[1], dtype=np.float32) - (width - 1) / 2) * dx
    return np.hypot(down, across) / (height * dy), np.rad2deg(np.arctan2(across, down))
