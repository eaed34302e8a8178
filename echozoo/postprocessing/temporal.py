"""Smoothing of logits along time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echozoo.errors import ConfigError
from echozoo.postprocessing.base import LogitStep
from echozoo.registry import POSTPROCESSING


@POSTPROCESSING.register_module()
class TemporalGaussian(LogitStep):
    """Average logits over the neighbours in time, with Gaussian weights.

    The smoother that N. Painchaud et al. compare with ("Echocardiography Segmentation with Enforced
    Temporal Consistency", IEEE TMI 2022) has a standard deviation of 0.05 times the film's length.
    Weights follow the distance in the film, not in the clip: a frame that a clip shows twice counts
    once, and at the film's ends the weights of what is there sum to 1. Fewer than three different
    frames, a pair of ED and ES for one, are no film and stay as they are.

    Args:
        sigma_frames: Standard deviation in frames of the film; 0 changes nothing.
        sigma_share: Used where ``sigma_frames`` is None: standard deviation as a share of the
            frames from the clip's first to its last. Clips are windows of a film, in testing and
            in use, unless the data set's ``clip_length`` is None: 0.05 of 8 frames smooths next
            to nothing.

    Raises:
        ConfigError: A standard deviation is negative.
    """

    def __init__(self, sigma_frames: float | None = None, sigma_share: float = 0.05) -> None:
        for name, value in (("sigma_frames", sigma_frames), ("sigma_share", sigma_share)):
            if value is not None and value < 0:
                raise ConfigError(f"TemporalGaussian: {name}={value}: wanted 0 or more")
        self.sigma_frames = sigma_frames
        self.sigma_share = sigma_share
        self.reach = None if sigma_frames is None else int(np.ceil(3 * sigma_frames))

    def __call__(self, logits: np.ndarray, frames: Sequence[int]) -> np.ndarray:
        """Return smoothed logits (T, K, h, w)."""
        weights = self.weights(frames).astype(logits.dtype)
        return np.tensordot(weights, logits, axes=1)  # (T, T) x (T, K, h, w)

    def weights(self, frames: Sequence[int]) -> np.ndarray:
        """Weights (T, T) of the frames of a clip in each smoothed frame; rows sum to 1."""
        places = np.asarray(frames, dtype=float)
        distinct, index, count = np.unique(places, return_inverse=True, return_counts=True)
        sigma = self.sigma_frames
        if sigma is None:
            sigma = self.sigma_share * (np.ptp(places) + 1)
        if len(distinct) < 3 or sigma == 0:
            return np.eye(len(places))
        distance = places[:, None] - places[None, :]
        weights = np.exp(-0.5 * (distance / sigma) ** 2) / count[index]
        return weights / weights.sum(axis=1, keepdims=True)
