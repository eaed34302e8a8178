"""Codes of shapes along a film, smoothed."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

FREE_WEIGHT = 50.0
_MOST, _BISECTIONS = 128.0, 5


def smooth_codes(codes: np.ndarray, weight: float) -> np.ndarray:
    """Minimise |x - s|^2 / 2 + w times the distance of each code from its neighbours' mean.

    The minimum of the published gradient descent in one step, x = (I + w L)^-1 s with L = 1/2 of
    the Laplacian of a path of T frames. First differences: a beat loses amplitude, too.

    Args:
        codes: s, (T, ...). T = 1 is legal.
        weight: w.
    """
    if len(codes) == 1:  # no neighbours; the solver wants two equations
        return codes.copy()
    bands = np.zeros((2, len(codes)))
    bands[0, 1:], bands[1] = -weight / 2, 1 + weight
    bands[1, [0, -1]] = 1 + weight / 2
    return solveh_banded(bands, codes)


def code_errors(codes: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Distances (T, ...), with their sign, from the mean of the neighbours, in shares of the range.

    Args:
        codes: (T, ...).
        bounds: (2, ...), least and largest value.
    """
    errors = np.zeros_like(codes)
    errors[1:-1] = codes[1:-1] - (codes[:-2] + codes[2:]) / 2
    return errors / (bounds[1] - bounds[0])


def least_weight(codes: np.ndarray, bounds: np.ndarray, threshold: float) -> float:
    """The least weight, a multiple of 4 up to 128, that makes every frame of one code consistent.

    Args:
        codes: (T,).
        bounds: (2,).
        threshold: What |`code_errors`| may be.

    Returns:
        The weight; 128 untried where 124 is not enough.
    """
    low, high = 0.0, _MOST
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        errors = code_errors(smooth_codes(codes, middle), bounds)
        low, high = (low, middle) if np.abs(errors).max() <= threshold else (middle, high)
    return high


def smooth_shape(
    codes: np.ndarray, bounds: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth a film's codes: those tied to an attribute as little as consistency takes.

    Args:
        codes: (T, D).
        bounds: (2, D).
        thresholds: (A,), of the first A codes.

    Returns:
        The smoothed codes (T, D), and the weights (A,) that were found.
    """
    smooth = smooth_codes(codes, FREE_WEIGHT)
    weights = np.array(
        [least_weight(codes[:, k], bounds[:, k], one) for k, one in enumerate(thresholds)]
    )
    for k, weight in enumerate(weights):
        smooth[:, k] = smooth_codes(codes[:, k], weight)
    return smooth, weights
