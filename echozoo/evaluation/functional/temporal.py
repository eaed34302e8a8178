"""Temporal consistency of a film: how far each frame is from the mean of its neighbours.

N. Painchaud et al., "Echocardiography Segmentation with Enforced Temporal Consistency", IEEE TMI
41(10), 2022. An attribute a of the heart's shape is scaled by the bounds that it has in a data set,

    s_t = (a_t - min) / (max - min),    e_t = s_t - (s_{t-1} + s_{t+1}) / 2,    e_0 = e_{T-1} = 0,

and frame t is inconsistent for that attribute where |e_t| > tau, strictly. A frame is
inconsistent where it is for any attribute, a film where any of its frames is. A motion of constant
speed has no error. The threshold tau is the largest |e_t| of the reference masks of a data set.

What the paper leaves open is decided here: an attribute that cannot be measured in a frame
(NaN: it *failed*) makes the frame inconsistent for it, at the ends of a film too, and is counted
apart; errors are known only where the frame and both its neighbours are, so the neighbours of a
failed frame have none and are not blamed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from echozoo.errors import DataError
from echozoo.evaluation.functional.attributes import BY_KEY

FEWEST_FRAMES = 3
"""A film of fewer has no frame with two neighbours."""


class Limit(NamedTuple):
    """The bounds of one attribute, and how far a frame may be from its neighbours."""

    min: float
    max: float
    threshold: float
    """In shares of max - min."""

    @property
    def tolerance(self) -> float:
        """The threshold in the attribute's unit."""
        return self.threshold * (self.max - self.min)


@dataclass(frozen=True)
class Consistency:
    """The verdict on a film of T frames, by the key of each attribute."""

    inconsistent: dict[str, np.ndarray]
    """(T,) bool, failures included."""
    failed: dict[str, np.ndarray]
    """(T,) bool, attribute not measurable."""
    ratios: dict[str, np.ndarray]
    """(T,) error to threshold, |e_t| / tau; NaN where it is not known."""

    @property
    def frames(self) -> np.ndarray:
        """(T,) bool, inconsistent for any attribute."""
        return np.any(list(self.inconsistent.values()), axis=0)

    @property
    def failed_frames(self) -> np.ndarray:
        """(T,) bool, any attribute failed."""
        return np.any(list(self.failed.values()), axis=0)

    @property
    def error_to_threshold(self) -> float:
        """Mean of |e| / tau over frames (the ends with their 0) and attributes; NaN if none is."""
        ratios = np.stack(list(self.ratios.values()))
        return float(np.nanmean(ratios)) if np.isfinite(ratios).any() else float("nan")


def neighbour_errors(
    values: np.ndarray, bounds: tuple[float, float], period: float | None = None
) -> np.ndarray:
    """Scaled distance, with its sign, of each frame's value from the mean of its neighbours'.

    Args:
        values: (T,), NaN where it failed. T = 1 and 2 are legal: all errors are 0.
        bounds: (min, max) of the attribute.
        period: Of an angle. Differences are then the shortest ones, so that an axis that turns
            from 89 to -89 degrees turns by 2.

    Returns:
        (T,) e_t, 0 at both ends; NaN where the frame or one of its neighbours failed.
    """
    values = np.asarray(values, dtype=float)
    errors = np.where(np.isnan(values), np.nan, 0.0)
    steps = np.diff(values)
    if period is not None:
        steps = steps - period * np.round(steps / period)
    errors[1:-1] = (steps[:-1] - steps[1:]) / 2 / (bounds[1] - bounds[0])
    return errors


def judge(film: Mapping[str, np.ndarray], limits: Mapping[str, Limit]) -> Consistency:
    """Judge a film by the attributes of its frames.

    Args:
        film: (T,) values of each attribute, as `film_attributes` gives them, in temporal order
            without gaps.
        limits: By attribute.

    Returns:
        The verdict on the attributes that are in both.

    Raises:
        DataError: No attribute is in both.
    """
    keys = [key for key in film if key in limits]
    if not keys:
        raise DataError(
            f"no limits for {', '.join(film) or 'no attribute'}: they are for {', '.join(limits)}"
        )
    ratios = {key: np.abs(_errors(film[key], key, limits[key])) for key in keys}
    failed = {key: np.isnan(film[key]) for key in keys}
    # Against tau itself, not ratios against 1: the frame that gave tau is not above it.
    inconsistent = {key: failed[key] | (ratios[key] > limits[key].threshold) for key in keys}
    ratios = {key: ratios[key] / limits[key].threshold for key in keys}
    return Consistency(inconsistent, failed, ratios)


def derive_limits(
    films: Sequence[Mapping[str, np.ndarray]], margin: float = 0.0
) -> dict[str, Limit]:
    """Find bounds and thresholds that the films of a data set's reference masks keep.

    Bounds are the least and largest value of each attribute in any frame; the threshold is the
    largest |e_t| in any film, so that none of these films is inconsistent.

    Args:
        films: For each film the (T,) values of each attribute.
        margin: Added to thresholds, as a share of them.

    Returns:
        By attribute; one that no film shows moving is left out.
    """
    limits = {}
    for key in BY_KEY:
        series = [film[key] for film in films if key in film]
        values = np.concatenate([*series, np.full(1, np.nan)])
        if np.isnan(values).all():
            continue
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if low == high:
            continue
        bounds = Limit(low, high, 0.0)
        errors = np.concatenate([np.abs(_errors(one, key, bounds)) for one in series])
        threshold = float(np.nanmax(errors)) * (1 + margin)
        if threshold > 0:
            limits[key] = bounds._replace(threshold=threshold)
    return limits


def _errors(values: np.ndarray, key: str, limit: Limit) -> np.ndarray:
    return neighbour_errors(values, (limit.min, limit.max), BY_KEY[key].period)
