"""Geometry: images and labels move together, by one draw for all frames of a clip.

Images are interpolated linearly, labels take the nearest pixel. Frames are warped one by one: with
OpenCV that is no slower than T frames as T channels of one array, and needs no transposed copies.
"""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.transforms.base import RandomTransform, pixel_size
from echozoo.errors import ConfigError
from echozoo.registry import TRANSFORMS


def _warp(results: dict, matrix: np.ndarray) -> None:
    """Move images and labels by a matrix (2, 3) from old to new (x, y); uncovered pixels are 0."""
    for key, interpolation in (("images", cv2.INTER_LINEAR), ("labels", cv2.INTER_NEAREST)):
        if key in results:
            size = results[key].shape[:0:-1]
            results[key] = np.stack(
                [cv2.warpAffine(frame, matrix, size, flags=interpolation) for frame in results[key]]
            )


def _similarity(results: dict, degrees: float, scale: float, shift: np.ndarray) -> np.ndarray:
    """Return the matrix (2, 3) that turns and scales about the centre, then shifts by (x, y) px.

    The anatomy turns rigidly also where pixels are not square (older CAMUS files, stretched
    clips): coordinates go through mm.
    """
    to_mm = np.diag(pixel_size(results)[::-1])
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[cosine, sine], [-sine, cosine]])  # counter-clockwise on screen
    linear = scale * np.linalg.inv(to_mm) @ turn @ to_mm
    centre = (np.array(results["images"].shape[:0:-1]) - 1) / 2
    return np.column_stack([linear, centre + shift - linear @ centre])


@TRANSFORMS.register_module()
class RandomRotate(RandomTransform):
    """Turn a clip about its centre by an angle drawn uniformly (published SAMUS: 30, 0.5).

    Args:
        degrees: Largest angle, in either direction.
        prob: Chance that the transform acts.
    """

    def __init__(self, degrees: float = 30, prob: float = 0.5) -> None:
        super().__init__(prob)
        self.degrees = degrees

    def act(self, results: dict, rng: np.random.Generator) -> None:
        """Turn images and labels."""
        angle = rng.uniform(-self.degrees, self.degrees)
        _warp(results, _similarity(results, angle, 1.0, np.zeros(2)))


@TRANSFORMS.register_module()
class RandomScaleCrop(RandomTransform):
    """Enlarge a clip, then cut a window of the old size out of it (published SAMUS).

    Args:
        scale: Range of the factor, at least 1.
        prob: Chance that the transform acts.
    """

    def __init__(self, scale: tuple[float, float] = (1.0, 1.3), prob: float = 0.5) -> None:
        super().__init__(prob)
        self.scale = scale

    def act(self, results: dict, rng: np.random.Generator) -> None:
        """Enlarge and crop images and labels in one warp."""
        scale = rng.uniform(*self.scale)
        size = np.array(results["images"].shape[:0:-1])
        corner = rng.uniform(0, 1, 2) * (scale - 1) * size
        # Corners of pixels scale, centres lie half a pixel inside.
        shift = (scale - 1) / 2 - corner
        _warp(results, np.column_stack([scale * np.eye(2), shift]))


@TRANSFORMS.register_module()
class RandomAffine(RandomTransform):
    """Turn, scale and shift a clip in a single warp: one interpolation, one pass over the pixels.

    Args:
        rotate: Largest angle in degrees, in either direction.
        scale: Range of the factor, about the centre.
        translate: Largest shift, as a part of the height and of the width.
        prob: Chance that the transform acts.
    """

    def __init__(
        self,
        rotate: float = 30,
        scale: tuple[float, float] = (0.9, 1.3),
        translate: float = 0.1,
        prob: float = 0.5,
    ) -> None:
        super().__init__(prob)
        self.rotate = rotate
        self.scale = scale
        self.translate = translate

    def act(self, results: dict, rng: np.random.Generator) -> None:
        """Move images and labels."""
        angle = rng.uniform(-self.rotate, self.rotate)
        scale = rng.uniform(*self.scale)
        shift = rng.uniform(-self.translate, self.translate, 2) * results["images"].shape[:0:-1]
        _warp(results, _similarity(results, angle, scale, shift))


@TRANSFORMS.register_module()
class ResizeClip(BaseTransform):
    """Bring a clip to the size of the network's input, and note how to come back.

    Images are averaged over the area of a new pixel where they shrink and interpolated linearly
    where they grow; labels take the nearest pixel, by pixel centres. A prediction comes back by
    cropping to ``valid_size`` and resizing to ``native_size``.

    Args:
        size: Size (H, W) of the network's input; None takes the data set's ``image_size``, so that
            a config states it once.
        keep_aspect: Fit the longer side, in mm, and pad with zeros at the bottom or at the right,
            as SAM does. Otherwise the clip is stretched, as SAMUS does.
    """

    def __init__(self, size: tuple[int, int] | None = None, keep_aspect: bool = False) -> None:
        self.size = size
        self.keep_aspect = keep_aspect

    def transform(self, results: dict) -> dict:
        """Resize images and labels, and set ``input_size`` and ``valid_size``.

        Raises:
            ConfigError: Neither this transform nor the data set has a size.
        """
        size = self.target_size(results)
        height, width = _fit(results, size) if self.keep_aspect else size
        old = results["images"].shape[1:]
        shrinks = height <= old[0] and width <= old[1]
        for key, interpolation in (
            ("images", cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
            ("labels", cv2.INTER_NEAREST_EXACT),
        ):
            if key in results:
                frames = results[key]
                clip = np.zeros((len(frames), *size), frames.dtype)
                for new, frame in zip(clip, frames, strict=True):
                    new[:height, :width] = cv2.resize(
                        frame, (width, height), interpolation=interpolation
                    )
                results[key] = clip
        results["input_size"] = size
        results["valid_size"] = (height, width)
        return results

    def target_size(self, results: dict) -> tuple[int, int]:
        """Return the size (H, W) that a clip gets.

        Raises:
            ConfigError: Neither this transform nor the data set has a size.
        """
        size = self.size or results.get("image_size")
        if not size:
            raise ConfigError(
                "ResizeClip: no size; give it size=(H, W), or the data set image_size=(H, W)"
            )
        return int(size[0]), int(size[1])


def _fit(results: dict, size: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size (h, w) inside ``size`` with the clip's aspect in mm."""
    extent = np.array(results["images"].shape[1:]) * pixel_size(results)  # mm
    height, width = np.maximum(np.rint(extent * min(size / extent)), 1).astype(int)
    return int(height), int(width)
