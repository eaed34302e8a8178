"""Smoothing of a film's outlines along time that leaves the beat as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.linalg import solve_banded
from scipy.ndimage import distance_transform_edt

from echozoo.errors import ConfigError
from echozoo.postprocessing.base import FilmLabels, FilmStep, Spacing
from echozoo.registry import POSTPROCESSING

_FRAMES = 64  # of a pass
_SECOND = (-0.5, 1.0, -0.5)  # a frame against the mean of its neighbours
_MARGIN = 8  # pixels that an outline may move beyond those of all frames
_ENCLOSES = {"myo": "lv"}


@POSTPROCESSING.register_module()
class WhittakerSmoother(FilmStep):
    """Smooth the signed distances of each structure and of the background along time.

    Of the signed distances s_t of a pixel to an outline (positive inside), those x_t that minimise

        sum_t (x_t - s_t)^2 + w sum_t (x_t - (x_{t-1} + x_{t+1}) / 2)^2,

    are taken, x = (I + w D'D)^-1 s with the rows (-1/2, 1, -1/2) of D (E. T. Whittaker, 1923): one
    solution of a banded system of T equations. An outline of constant speed costs nothing: a motion
    of n frames a cycle keeps 1 / (1 + w (1 - cos(2 pi / n))^2) of its amplitude, 99 % at w = 4 and
    n = 22, as of a beat at 25 frames a second, where a penalty on first differences or a wide
    Gaussian would flatten the beat. A pixel is of the region, background among them, whose distance
    is the largest. Of the wall, its outer outline is smoothed: what moves through a thin wall has
    no straight course of distances. Films are read some frames at a time; those around them enter
    as far as they have any weight.

    A structure that a frame lacks has no say there; where frames before and after show it, it is
    filled in. Pinned frames stay as they are. Fewer than three frames stay so, too.

    Args:
        weight: w; 0 changes nothing. A larger one is for films of more frames a beat: it may grow
            with their fourth power. 64 has straightened the filling of a beat of 30 frames.
        longest_gap: Frames in a row, without a structure that others show, to fill in.

    Raises:
        ConfigError: An argument is negative.
    """

    def __init__(self, weight: float = 4.0, longest_gap: int = 2) -> None:
        for name, value in (("weight", weight), ("longest_gap", longest_gap)):
            if not value >= 0:
                raise ConfigError(f"WhittakerSmoother: {name}={value}: wanted 0 or more")
        self.weight, self.longest_gap = float(weight), int(longest_gap)
        # The weight of frames falls by e over sqrt(2) (w / 4)^(1/4) of them: here to 1e-6.
        self.reach = int(np.ceil(14 * np.sqrt(2) * (weight / 4) ** 0.25))

    def __call__(
        self,
        labels: FilmLabels,
        values: Mapping[str, int],
        spacing: Spacing | None = None,
        pinned: Sequence[int] = (),
    ) -> Iterator[np.ndarray]:
        """Yield smoothed label maps (H, W)."""
        frames, *size = labels.shape
        present, (rows, columns) = _extent(labels, values)  # (T, K)
        fixed = np.isin(np.arange(frames), list(pinned))
        for start in range(0, frames, _FRAMES):
            first, stop = max(start - self.reach, 0), min(start + _FRAMES, frames)
            seen = slice(first, stop + self.reach)
            maps = self._smooth(
                labels[seen][:, rows, columns], values, spacing, present[seen], fixed[seen]
            )
            for part in maps[start - first : stop - first]:
                whole = np.zeros(size, np.uint8)
                whole[rows, columns] = part
                yield whole

    def _smooth(
        self,
        labels: np.ndarray,
        values: Mapping[str, int],
        spacing: Spacing | None,
        present: np.ndarray,
        fixed: np.ndarray,
    ) -> np.ndarray:
        """Smooth label maps (n, h, w); ``present`` (n, K), ``fixed`` (n,)."""
        everywhere = np.ones(len(labels), bool)
        smooth = np.zeros_like(labels)
        best = self._distances(labels == 0, spacing, everywhere, fixed)
        found: dict[str, np.ndarray] = {}
        # A wall after the cavity that it encloses.
        for k, name in sorted(enumerate(values), key=lambda one: one[1] in _ENCLOSES):
            there, inner = present[:, k], _ENCLOSES.get(name)
            if not there.any():
                continue
            masks = labels == values[name]
            if inner in found:
                masks |= labels == values[inner]
            found[name] = self._distances(masks, spacing, there, fixed)
            if inner in found:
                np.minimum(found[name], -found[inner], out=found[name])
            shown = there | (short_gaps(there, self.longest_gap) & ~fixed)
            better = shown[:, None, None] & (found[name] > best)
            smooth[better], best[better] = values[name], found[name][better]
        return smooth

    def _distances(
        self, masks: np.ndarray, spacing: Spacing | None, there: np.ndarray, fixed: np.ndarray
    ) -> np.ndarray:
        """Smoothed signed distances (n, h, w) of masks that ``there`` (n,) says are not empty."""
        found = np.zeros(masks.shape, np.float32)
        for t in np.flatnonzero(there):
            found[t] = signed_distance(masks[t], spacing)
        matrix = smoothing_matrix(self.weight, there, fixed & there).astype(np.float32)
        return np.tensordot(matrix, found, axes=1)


def smoothing_matrix(weight: float, there: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The matrix (T, T) that smooths values of T frames.

    Args:
        weight: w.
        there: (T,) bool, the frames that have a value; the others get one. With fewer than three
            nothing is smoothed.
        fixed: (T,) bool, those of them that keep theirs.
    """
    count = len(there)
    if there.sum() < 3:
        return np.diag(there.astype(float))
    bands = np.zeros((5, count))  # bands[2 + i - j, j] is entry (i, j)
    for a, left in enumerate(_SECOND):
        for b, right in enumerate(_SECOND):
            bands[2 + a - b, b : count - 2 + b] += weight * left * right
    bands[2] += there
    for i in np.flatnonzero(fixed):
        for j in range(max(i - 2, 0), min(i + 3, count)):
            bands[2 + i - j, j] = i == j
    if weight == 0:
        bands[2] = 1.0
    return solve_banded((2, 2), bands, np.diag(there.astype(float)))


def signed_distance(mask: np.ndarray, spacing: Spacing | None = None) -> np.ndarray:
    """Distances (H, W) of pixels to the outline of a mask, positive inside.

    Args:
        mask: (H, W) bool, not empty. It ends where the image does.
        spacing: (dy, dx) of a pixel; pixels where None.
    """
    spacing = spacing or (1.0, 1.0)
    around = np.pad(mask, 1)
    # To the nearest pixel of the other side; the outline lies half a pixel before it.
    inside, outside = (distance_transform_edt(m, sampling=spacing) for m in (around, ~around))
    return (inside - outside + min(spacing) * (0.5 - around))[1:-1, 1:-1]


def short_gaps(there: np.ndarray, longest: int) -> np.ndarray:
    """Say which frames lie in gaps of at most ``longest`` frames between frames that are there."""
    shown = np.flatnonzero(there)
    gaps = np.zeros_like(there)
    for before, after in zip(shown[:-1], shown[1:], strict=True):
        if after - before - 1 <= longest:
            gaps[before + 1 : after] = True
    return gaps


def _extent(
    labels: FilmLabels, values: Mapping[str, int]
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Which structures each frame shows (T, K), and the part of the images that shows any."""
    frames, *size = labels.shape
    present = np.zeros((frames, len(values)), bool)
    anywhere = np.zeros(size, bool)
    for start in range(0, frames, _FRAMES):
        for t, one in enumerate(labels[start : start + _FRAMES], start):
            anywhere |= one > 0
            present[t] = np.isin(list(values.values()), one)
    part = []
    for axis in (1, 0):
        places = np.flatnonzero(anywhere.any(axis=axis))
        low, high = (places[0], places[-1]) if len(places) else (0, 0)
        part.append(slice(max(low - _MARGIN, 0), high + _MARGIN + 1))
    return present, (part[0], part[1])
