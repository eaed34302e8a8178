"""Outlines of the chambers in one apical view, frame by frame, and their label maps.

Coordinates are millimetres (x, y): x to the right of the sector's middle line, y the depth below
the probe. A curve is (T, n, 2); its points belong to the same piece of tissue in all frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from echozoo.phantom.anatomy import AXIS, Array, Beat

# Half the opening of the sector, radians: CAMUS images are 1.21 times as wide as they are deep.
HALF_ANGLE = np.deg2rad(37.4)


@dataclass(frozen=True)
class Chambers:
    """What one view shows, ED first.

    Attributes:
        endo: Inner border of the left ventricle from the left ring point over the apex (T, n, 2).
        epi: Outer border of the myocardium, point by point beside `endo`.
        atrium: Border of the left atrium from the left to the right ring point (T, m, 2).
        right_wall: Free wall of the right ventricle from its base to its tip, beside the first
            points of `epi` (T, k, 2), or None where the view does not show it.
        right_atrium: Border of the right atrium, or None.
        depth: Depth of the picture, mm.
    """

    endo: Array
    epi: Array
    atrium: Array
    right_wall: Array | None
    right_atrium: Array | None
    depth: float


def draw_chambers(beat: Beat, view: str, rng: np.random.Generator) -> Chambers:
    """Place a beating ventricle under the probe and draw what is around it.

    Args:
        beat: The ventricle over the frames.
        view: ``"2CH"`` or ``"4CH"``.
        rng: Source of randomness.
    """
    endo, epi = _walls(beat, beat.widths[:, ("2CH", "4CH").index(view)], rng)
    place = _placement(beat, rng)
    endo, epi = place(endo), place(epi)
    atrium = _atrium(endo, rng, reach=rng.uniform(32, 50), breadth=rng.normal(20.5, 2.0))
    deepest = atrium[..., 1].max()
    right_wall = right_atrium = None
    if view == "4CH":
        right_wall = _right_ventricle(epi, beat.phase, rng)
        ring = np.stack([right_wall[:, 0], epi[:, 0]], 1)
        right_atrium = _atrium(ring, rng, reach=rng.uniform(30, 42), breadth=rng.normal(18, 2))
    depth = float(np.clip(deepest + rng.uniform(-6, 22), endo[..., 1].max() + 8, 195))
    return Chambers(endo, epi, atrium, right_wall, right_atrium, depth)


def _walls(beat: Beat, widths: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Endo- and epicardium in the ventricle's own frame: apex at 0, y towards the base."""
    # The septum is the straighter side.
    slope, bend = np.tan(np.deg2rad(rng.normal(0, 3))), rng.normal(0.03, 0.014)
    middle = bend * np.sin(np.pi * AXIS) * beat.length[:, None]  # (T, S)
    left, right = middle - widths[:, 0], middle + widths[:, 1]
    x = np.concatenate([left[:, :0:-1], right], 1)
    s = np.concatenate([AXIS[:0:-1], AXIS])
    y = s * beat.length[:, None] + slope * x * s**2
    endo = _even_steps(np.stack([x, y], -1))
    u = np.linspace(0, 1, endo.shape[1])
    # Septal, apical and lateral thirds differ; the wall ends in small feet below the mitral ring.
    profile = 1 + 0.10 * np.sin(2 * np.pi * u + rng.uniform(0, 2 * np.pi))
    profile *= 1 - rng.uniform(0.05, 0.25) * np.exp(-(((u - 0.5) / 0.08) ** 2))
    epi = offset(endo, beat.wall[:, None] * profile)
    feet = rng.uniform(1.0, 4.0, 2)
    epi[..., 1] += feet[0] * np.exp(-u / 0.04) + feet[1] * np.exp(-(1 - u) / 0.04)
    return endo, epi


def offset(curve: Array, distance: float | Array) -> Array:
    """Shift a curve to its left side as it runs: outwards for the endocardium.

    Args:
        curve: (T, n, 2).
        distance: In mm, a number or something that broadcasts to (T, n).
    """
    tangent = np.gradient(curve, axis=1)
    normal = np.stack([tangent[..., 1], -tangent[..., 0]], -1)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    return curve + normal * np.asarray(distance)[..., None]


def _even_steps(curve: Array) -> Array:
    """Resample each frame's curve to even arc length."""
    step = np.linalg.norm(np.diff(curve, axis=1), axis=-1)
    arc = np.concatenate([np.zeros((len(curve), 1)), np.cumsum(step, 1)], 1)
    even = np.linspace(0, 1, curve.shape[1])
    return np.stack(
        [
            np.stack([np.interp(even * a[-1], a, c[:, k]) for k in range(2)], -1)
            for a, c in zip(arc, curve, strict=True)
        ]
    )


def _placement(beat: Beat, rng: np.random.Generator) -> Callable[[Array], Array]:
    """A rigid motion for each frame: tilt and apex drawn once, a little sway of the chest."""
    tilt = np.deg2rad(rng.normal(0, 4) + rng.normal(0, 0.6) * beat.phase)
    apex = np.array([rng.normal(3, 4), np.clip(rng.normal(30, 5), 21, 42)])
    sway = rng.normal(0, 0.5, 2) * np.sin(np.pi * beat.phase)[:, None]
    sway = sway + np.array([rng.normal(0, 0.8), 1.5]) * beat.phase[:, None]
    cos, sin = np.cos(tilt), np.sin(tilt)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)  # (T, 2, 2)

    def place(curve: Array) -> Array:
        return np.einsum("tij,tnj->tni", turn, curve) + (apex + sway)[:, None]

    return place


def _atrium(ring: Array, rng: np.random.Generator, reach: float, breadth: float) -> Array:
    """A sack below two ring points (the curve's ends); its floor stays while the ring rises."""
    left, right = ring[:, 0], ring[:, -1]
    middle = (left + right) / 2
    across = (right - left)[0] / np.linalg.norm((right - left)[0])
    down = np.array([-across[1], across[0]])
    floor = middle[0] + reach * down + rng.normal(-3, 3) * across
    floor = floor + 0.12 * (middle - middle[0])
    # Along the axis, down one side (41 points) and up the other (40).
    sigma = np.sin(np.linspace(0, np.pi / 2, 41))
    swell = np.concatenate([1 - (1 - sigma) ** 2, 1 - (1 - sigma[-2::-1]) ** 2])
    along = np.concatenate([sigma, sigma[-2::-1]])
    close = np.sqrt(np.clip(1 - along ** rng.uniform(2.6, 4.0), 0, 1))
    side = np.concatenate([-np.ones(41), np.ones(40)])
    half_ring = np.linalg.norm(right - left, axis=-1)[:, None] / 2
    half = (half_ring * (1 - swell) + np.maximum(breadth, half_ring) * swell) * close * side
    axis = floor - middle
    unit = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    normal = np.stack([unit[:, 1], -unit[:, 0]], -1)
    curve = middle[:, None] + along[:, None] * axis[:, None] + half[..., None] * normal[:, None]
    # The ends are the ring itself, whatever the angle between it and the axis.
    hold = (1 - along)[:, None] ** 4
    ends = np.where(side[:, None, None] < 0, left, right).transpose(1, 0, 2)
    return (1 - hold) * curve + hold * ends


def _right_ventricle(epi: Array, phase: Array, rng: np.random.Generator) -> Array:
    """The free wall, opposite the septal part of the epicardium (its first points)."""
    count = int(epi.shape[1] * rng.uniform(0.33, 0.41))
    septum = epi[:, :count]
    u = np.linspace(0, 1, count)
    width = rng.uniform(22, 34) * np.sqrt(1 - u**1.6) * (1 + 0.15 * np.sin(np.pi * u))
    width = width * (1 - 0.22 * phase[:, None])
    return offset(septum, width)


def fill(polygon: Array, shape: tuple[int, int], spacing: float) -> np.ndarray:
    """Pixels whose centre lies in a polygon (even-odd rule), exactly.

    Args:
        polygon: Corners (n, 2) in mm, closed by itself.
        shape: Picture (H, W).
        spacing: Side of a pixel, mm.

    Returns:
        Mask (H, W), bool.
    """
    height, width = shape
    x = polygon[:, 0] / spacing + (width - 1) / 2
    y = polygon[:, 1] / spacing - 0.5
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    rows = np.arange(height)[:, None]
    crosses = (np.minimum(y, y2) <= rows) & (rows < np.maximum(y, y2))  # (H, n)
    row, edge = np.nonzero(crosses)
    at = x[edge] + (row - y[edge]) * (x2 - x)[edge] / (y2 - y)[edge]
    flips = np.zeros((height, width + 1), np.int32)
    np.add.at(flips, (row, np.clip(np.ceil(at), 0, width).astype(int)), 1)
    return np.cumsum(flips[:, :width], 1) % 2 == 1


def label_maps(chambers: Chambers, shape: tuple[int, int], spacing: float) -> np.ndarray:
    """CAMUS's labels: 1 LV cavity, 2 myocardium, 3 left atrium.

    Args:
        chambers: Outlines (T frames).
        shape: Picture (H, W).
        spacing: Side of a pixel, mm.

    Returns:
        (T, H, W) uint8.
    """
    labels = np.zeros((len(chambers.endo), *shape), np.uint8)
    for frame, endo, epi, atrium in zip(
        labels, chambers.endo, chambers.epi, chambers.atrium, strict=True
    ):
        frame[fill(atrium, shape, spacing)] = 3
        frame[fill(np.concatenate([endo, epi[::-1]]), shape, spacing)] = 2
        frame[fill(endo, shape, spacing)] = 1
    return labels


def picture_shape(depth: float, spacing: float) -> tuple[int, int]:
    """Rows and columns (H, W) that hold the whole sector.

    Args:
        depth: Depth of the sector, mm.
        spacing: Side of a pixel, mm.
    """
    return round(depth / spacing), round(2 * depth * np.sin(HALF_ANGLE) / spacing)
