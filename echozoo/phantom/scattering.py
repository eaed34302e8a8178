"""Scatterers that move with tissue.

Everything that moves is a strip between two curves that move: a scatterer keeps its place (u, v)
in its strip, u along the curves and v across. Strengths are in dB, 0 for septal myocardium.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from echozoo.phantom.anatomy import Array

DENSITY = 7.0  # scatterers per square millimetre


@dataclass(frozen=True)
class Cloud:
    """Scatterers over the frames.

    Attributes:
        points: Positions (T, N, 2), mm.
        amplitude: (T, N).
    """

    points: np.ndarray
    amplitude: np.ndarray


def join(clouds: list[Cloud]) -> Cloud:
    """One cloud of several."""
    return Cloud(
        np.concatenate([c.points for c in clouds], 1),
        np.concatenate([c.amplitude for c in clouds], 1),
    )


def strip(
    first: Array,
    second: Array,
    decibel: Array | float,
    rng: np.random.Generator,
    renewal: float = 0.1,
    texture: float = 2.0,
    core: float = 0.0,
) -> Cloud:
    """Fill the strip between two curves with scatterers.

    Args:
        first: Curve (T, n, 2), mm.
        second: Curve beside it (T, n, 2), mm.
        decibel: Strength: one number, (n,) along the curves, or (T, n) also over the frames.
        rng: Source of randomness.
        renewal: Share of a scatterer's strength that is drawn anew at each frame: small in tissue
            (it leaves the plane slowly), near 1 in flowing blood.
        texture: Deviation of the tissue's coarse texture, dB.
        core: How much weaker the strip is along its borders than in its middle, dB.
    """
    frames, n = first.shape[:2]
    chord = np.linalg.norm(second[0] - first[0], axis=-1)
    step = np.linalg.norm(np.gradient((first[0] + second[0]) / 2, axis=0), axis=-1)
    area = chord * step
    count = max(int(DENSITY * area.sum()), 8)
    cumulative = np.concatenate([[0], np.cumsum((area[1:] + area[:-1]) / 2)])
    u = np.interp(rng.random(count) * cumulative[-1], cumulative, np.arange(n))
    v = rng.random(count, dtype=np.float32)
    low = np.minimum(u.astype(np.int64), n - 2)
    share = (u - low).astype(np.float32)

    def at(values: Array) -> np.ndarray:  # (T, n, ...) -> (T, count, ...)
        values = values.astype(np.float32)
        weight = share.reshape(-1, *[1] * (values.ndim - 2))
        return values[:, low] * (1 - weight) + values[:, low + 1] * weight

    points = at(first) * (1 - v[:, None]) + at(second) * v[:, None]
    strength = at(np.broadcast_to(decibel, (frames, n)))
    strength = strength - core * (2 * v - 1) ** 2
    if texture:
        strength = strength + texture * _texture(u / n, v, step.sum(), chord.mean(), rng)
    unit = np.float32(np.sqrt(area.sum() / count))
    return Cloud(points, flicker(frames, count, renewal, rng) * unit * 10 ** (strength / 20))


def flicker(frames: int, count: int, renewal: float, rng: np.random.Generator) -> np.ndarray:
    """Amplitudes 1 or -1 (T, N), of which a share is drawn anew at each frame.

    Equal magnitudes, because speckle is the sooner fully developed the less they vary.
    """
    flips = rng.random((frames, count), dtype=np.float32) < renewal / 2
    flips[0] = rng.random(count) < 0.5
    return np.where(np.logical_xor.accumulate(flips, axis=0), np.float32(-1), np.float32(1))


def _texture(
    u: Array, v: np.ndarray, length: float, breadth: float, rng: np.random.Generator
) -> np.ndarray:
    """A smooth random field at (u, v), deviation 1, grain about 4 x 1.5 mm."""
    grid = rng.standard_normal((max(int(length / 2), 4), max(int(breadth / 0.75), 4)))
    grid = gaussian_filter(grid, 1, mode="wrap")
    grid /= grid.std()
    at = [u * (grid.shape[0] - 1), v * (grid.shape[1] - 1)]
    return map_coordinates(grid, at, order=1).astype(np.float32)


def specular(curve: Array) -> Array:
    """How squarely the beam meets a curve, (T, n): 1 where they are perpendicular, 0 along it."""
    tangent = np.gradient(curve, axis=1)
    across = np.abs(tangent[..., 0] * curve[..., 1] - tangent[..., 1] * curve[..., 0])
    size = np.linalg.norm(tangent, axis=-1) * np.linalg.norm(curve, axis=-1)
    return np.clip(across / np.maximum(size, 1e-9), 0, 1)


def waves(n: int, grain: float, rng: np.random.Generator) -> Array:
    """A smooth random course along a curve (n,), deviation 1."""
    course = gaussian_filter1d(rng.standard_normal(n + 8 * int(grain)), grain)
    return (course / course.std())[4 * int(grain) :][:n]
