"""What varies between ultrasound machines, operators and beats: gray levels, never geometry.

Clips come in as uint8 or float32 gray levels (T, H, W) and leave as float32 in [0, 255]. Black
stays black (but for `RandomContrast` below 1), so that nothing appears outside the fan. Sizes in
pixels refer to the clip as it is when the transform acts.
"""

from __future__ import annotations

from abc import abstractmethod

import cv2
import numpy as np

from echozoo.datasets.transforms.base import RandomTransform, beam_coordinates
from echozoo.registry import TRANSFORMS


class _RandomGrayLevels(RandomTransform):
    """A transform of the images alone; what it returns is brought back to [0, 255]."""

    def act(self, results: dict, rng: np.random.Generator) -> None:
        """Change the gray levels of all frames."""
        results["images"] = self.change(results, rng).clip(0, 255)

    @abstractmethod
    def change(self, results: dict, rng: np.random.Generator) -> np.ndarray:
        """Return new images (T, H, W) float32."""


@TRANSFORMS.register_module()
class RandomGamma(_RandomGrayLevels):
    """Bend the gray scale: ``255 * (x / 255) ** (1 / g)``, brighter for g > 1.

    Args:
        gamma: Range of g, drawn uniformly (published SAMUS: 1.0 to 2.4, in steps of 0.1).
        prob: Chance that the transform acts.
    """

    def __init__(self, gamma: tuple[float, float] = (1.0, 2.4), prob: float = 0.5) -> None:
        super().__init__(prob)
        self.gamma = gamma

    def change(self, results: dict, rng: np.random.Generator) -> np.ndarray:
        """Return the images, brighter or darker in the middle of the scale."""
        exponent = np.float32(1 / rng.uniform(*self.gamma))
        images = results["images"]
        if images.dtype == np.uint8:
            levels = np.arange(256, dtype=np.float32) / 255
            frames, height, width = images.shape
            table = 255 * levels**exponent
            return cv2.LUT(images.reshape(-1, width), table).reshape(frames, height, width)
        return 255 * (images / 255) ** exponent


@TRANSFORMS.register_module()
class RandomContrast(_RandomGrayLevels):
    """Spread gray levels about the mean of the clip, or draw them together.

    Args:
        contrast: Range of the factor, drawn uniformly (published SAMUS: 0.8 to 2.0).
        prob: Chance that the transform acts.
    """

    def __init__(self, contrast: tuple[float, float] = (0.8, 2.0), prob: float = 0.5) -> None:
        super().__init__(prob)
        self.contrast = contrast

    def change(self, results: dict, rng: np.random.Generator) -> np.ndarray:
        """Return the images with another contrast."""
        factor = np.float32(rng.uniform(*self.contrast))
        images = results["images"].astype(np.float32, copy=False)
        return factor * images + (1 - factor) * images.mean()


@TRANSFORMS.register_module()
class RandomSpeckle(_RandomGrayLevels):
    """Multiply by spatially correlated noise of mean 1, independent from frame to frame.

    Args:
        strength: Range of the noise's standard deviation.
        grain: Standard deviation in pixels of the blur that correlates the noise (along y, x): a
            resolution cell is wider across the beams than along them.
        prob: Chance that the transform acts.
    """

    def __init__(
        self,
        strength: tuple[float, float] = (0.05, 0.2),
        grain: tuple[float, float] = (0.8, 1.6),
        prob: float = 0.5,
    ) -> None:
        super().__init__(prob)
        self.strength = strength
        # Kernels of unit energy keep the variance of white noise at 1.
        kernels = [cv2.getGaussianKernel(2 * round(3 * sigma) + 1, sigma) for sigma in grain]
        self.kernels = [kernel / np.linalg.norm(kernel) for kernel in kernels]

    def change(self, results: dict, rng: np.random.Generator) -> np.ndarray:
        """Return the images under the noise."""
        images = results["images"]
        strength = np.float32(rng.uniform(*self.strength))
        along, across = self.kernels
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        for frame in noise:
            cv2.sepFilter2D(frame, -1, across, along, dst=frame)
        return images * (1 + strength * noise)


@TRANSFORMS.register_module()
class RandomShadow(_RandomGrayLevels):
    """Darken a sector below the transducer, as behind a rib, lung or poor contact.

    In half of the clips the shadow stays; in the others it comes and goes within some frames.

    Args:
        strength: Range of the part of the signal that is lost in the middle of the shadow.
        width: Range of the sector's width, in degrees.
        reach: Largest angle of its axis from straight down, in degrees.
        prob: Chance that the transform acts.
    """

    def __init__(
        self,
        strength: tuple[float, float] = (0.4, 0.9),
        width: tuple[float, float] = (5, 20),
        reach: float = 35,
        prob: float = 0.5,
    ) -> None:
        super().__init__(prob)
        self.strength = strength
        self.width = width
        self.reach = reach

    def change(self, results: dict, rng: np.random.Generator) -> np.ndarray:
        """Return the images with the shadow."""
        _, angle = beam_coordinates(results)
        offset = (angle - rng.uniform(-self.reach, self.reach)) / (rng.uniform(*self.width) / 2)
        profile = rng.uniform(*self.strength) * np.exp2(-(offset**4))  # flat, with soft edges
        presence = self._presence(len(results["images"]), rng)
        loss = presence[:, None, None] * profile  # (T, H, W)
        return results["images"] * (1 - loss).astype(np.float32)

    @staticmethod
    def _presence(frames: int, rng: np.random.Generator) -> np.ndarray:
        """Return how strong the shadow is in each frame (T,); somewhere it is 1."""
        stays, darkest = rng.random() < 0.5, rng.integers(frames)
        duration = frames * rng.uniform(0.1, 0.4)
        if stays:
            return np.ones(frames)
        return np.exp(-(((np.arange(frames) - darkest) / duration) ** 2))


@TRANSFORMS.register_module()
class RandomDepthGain(_RandomGrayLevels):
    """Move the sliders of the time gain compensation: another gain at every depth.

    Args:
        gain: Range of each slider's factor, drawn uniformly on a logarithmic scale.
        sliders: Number of sliders, evenly spaced in depth; gain is linear between them.
        prob: Chance that the transform acts.
    """

    def __init__(
        self, gain: tuple[float, float] = (0.6, 1.6), sliders: int = 6, prob: float = 0.5
    ) -> None:
        super().__init__(prob)
        self.gain = gain
        self.sliders = sliders

    def change(self, results: dict, rng: np.random.Generator) -> np.ndarray:
        """Return the images under the new gain."""
        depth, _ = beam_coordinates(results)
        factors = np.exp(rng.uniform(*np.log(self.gain), self.sliders))
        gain = np.interp(depth, np.linspace(0, 1, self.sliders), factors)
        return results["images"] * gain.astype(np.float32)


@TRANSFORMS.register_module()
class RandomBlur(_RandomGrayLevels):
    """Widen the resolution cell, more across the beams than along them.

    Args:
        sigma: Range of the Gaussian's standard deviation along the beams, in pixels.
        aspect: How many times wider it is across them.
        prob: Chance that the transform acts.
    """

    def __init__(
        self, sigma: tuple[float, float] = (0.3, 1.2), aspect: float = 1.5, prob: float = 0.5
    ) -> None:
        super().__init__(prob)
        self.sigma = sigma
        self.aspect = aspect

    def change(self, results: dict, rng: np.random.Generator) -> np.ndarray:
        """Return the images, less sharp."""
        along = rng.uniform(*self.sigma)
        images = results["images"].astype(np.float32)  # a copy, always
        for frame in images:
            cv2.GaussianBlur(frame, (0, 0), along * self.aspect, dst=frame, sigmaY=along)
        return images
