"""What scatters the sound, and how strongly: wall, blood, valves, right heart, surroundings.

Everything that moves is a strip between two curves that move: a scatterer keeps its place (u, v)
in its strip, u along the curves and v across. Strengths are in dB, 0 for septal myocardium.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from echozoo.datasets.phantom.anatomy import Array
from echozoo.datasets.phantom.chambers import HALF_ANGLE, Chambers, fill, picture_shape

_DENSITY = 5.0  # scatterers per square millimetre
_BLOOD = -26.0  # dB


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
    """
    frames, n = first.shape[:2]
    chord = np.linalg.norm(second[0] - first[0], axis=-1)
    step = np.linalg.norm(np.gradient((first[0] + second[0]) / 2, axis=0), axis=-1)
    area = chord * step
    count = max(int(_DENSITY * area.sum()), 8)
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
    if texture:
        strength = strength + texture * _texture(u / n, v, step.sum(), chord.mean(), rng)
    unit = np.float32(np.sqrt(area.sum() / count))
    return Cloud(points, _flicker(frames, count, renewal, rng) * unit * 10 ** (strength / 20))


def _flicker(frames: int, count: int, renewal: float, rng: np.random.Generator) -> np.ndarray:
    """Normal amplitudes (T, N), correlated from frame to frame."""
    fresh = rng.standard_normal((frames, count), dtype=np.float32)
    keep = np.float32(1 - renewal)
    gain = np.sqrt(1 - keep**2)
    for now, before in zip(fresh[1:], fresh[:-1], strict=True):
        now *= gain
        now += keep * before
    return fresh


def _texture(
    u: Array, v: np.ndarray, length: float, breadth: float, rng: np.random.Generator
) -> np.ndarray:
    """A smooth random field at (u, v), deviation 1, grain about 4 x 1.5 mm."""
    grid = rng.standard_normal((max(int(length / 2), 4), max(int(breadth / 0.75), 4)))
    grid = gaussian_filter(grid, 1, mode="wrap")
    grid /= grid.std()
    at = [u * (grid.shape[0] - 1), v * (grid.shape[1] - 1)]
    return map_coordinates(grid, at, order=1).astype(np.float32)


def _offset(curve: Array, distance: float | Array) -> Array:
    """The curve shifted to its left side, seen along it (outwards for the endocardium)."""
    tangent = np.gradient(curve, axis=1)
    normal = np.stack([tangent[..., 1], -tangent[..., 0]], -1)
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    return curve + normal * np.asarray(distance)[..., None]


def specular(curve: Array) -> Array:
    """How squarely the beam meets a curve, (T, n): 1 where they are perpendicular, 0 along it."""
    tangent = np.gradient(curve, axis=1)
    across = np.abs(np.cross(tangent, curve))
    size = np.linalg.norm(tangent, axis=-1) * np.linalg.norm(curve, axis=-1)
    return np.clip(across / np.maximum(size, 1e-9), 0, 1)


def scatterers(chambers: Chambers, view: str, wall_loss: Array, rng: np.random.Generator) -> Cloud:
    """All that one view shows.

    Args:
        chambers: Outlines.
        view: ``"2CH"`` or ``"4CH"``.
        wall_loss: Dropout of the wall (T, n), dB, n the points of the endocardium.
        rng: Source of randomness.
    """
    clouds = [
        *_ventricle(chambers, view, wall_loss, rng),
        *_valve(chambers.endo, rng),
        *_left_atrium(chambers, rng),
        _surroundings(chambers, rng),
    ]
    if chambers.right_wall is not None:
        clouds += _right_heart(chambers, rng)
    return join(clouds)


def _ventricle(chambers: Chambers, view: str, loss: Array, rng: np.random.Generator) -> list[Cloud]:
    endo, epi = chambers.endo, chambers.epi
    n = endo.shape[1]
    u = np.linspace(0, 1, n)
    # The side wall runs along the beam and lies behind lung: weaker than the septum.
    weak = rng.uniform(2, 7) + float(view == "2CH")
    left = rng.uniform(0, 3) * (view == "2CH")
    wall = -weak / (1 + np.exp(-(u - 0.6) / 0.06)) - left * (u < 0.4)
    wall = wall - 3 * np.exp(-(((u - 0.5) / 0.1) ** 2)) + loss
    inner, outer = _offset(endo, -0.5), _offset(epi, 0.8)
    edge = wall - 3 + 9 * specular(endo) ** 2
    border = wall + 1 + 9 * specular(epi) ** 2
    ragged = gaussian_filter(rng.standard_normal(n), 2.5, mode="nearest")
    trabeculae = np.clip(0.5 + 6 * ragged, 0, 4) * np.sin(np.pi * u)
    half = n // 2
    return [
        strip(endo, epi, wall, rng, texture=2.6),
        strip(inner, _offset(endo, 0.5), edge, rng, texture=3),
        strip(_offset(epi, -0.8), outer, border, rng, texture=3),
        strip(_offset(endo, -trabeculae), endo, wall - 5, rng, texture=4),
        strip(endo[:, : half + 1], endo[:, half:][:, ::-1], _BLOOD, rng, 0.6, 1.5),
    ]


def _valve(endo: Array, rng: np.random.Generator) -> list[Cloud]:
    """Two leaflets that meet above the ring's plane and tent less as the ventricle empties."""
    left, right = endo[:, :1], endo[:, -1:]
    frames = len(endo)
    across = right - left
    up = np.stack([across[..., 1], -across[..., 0]], -1)
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    phase = np.linspace(0, 1, frames)[:, None, None]
    meet = rng.uniform(0.5, 0.68)
    tent = rng.uniform(4, 9) * (1 - 0.5 * phase)
    open_gap = rng.uniform(0, 0.25) * np.exp(-phase / 0.06)
    t = np.linspace(0, 1, 24)[None, :, None]
    clouds = []
    for ring, sign, reach in ((left, 1, meet), (right, -1, 1 - meet)):
        span = reach - open_gap / 2
        leaflet = ring + sign * across * span * t + up * tent * np.sin(np.pi / 2 * t) ** 1.3
        leaflet = leaflet + up * 10 * open_gap * t
        strength = rng.uniform(2, 7) + 5 * specular(leaflet) ** 2 - 6
        clouds.append(strip(_offset(leaflet, -0.6), _offset(leaflet, 0.6), strength, rng, 0.15, 3))
    return clouds


def _left_atrium(chambers: Chambers, rng: np.random.Generator) -> list[Cloud]:
    atrium = chambers.atrium
    half = atrium.shape[1] // 2
    wall = -6 + 10 * specular(atrium) ** 3
    blood = _BLOOD + rng.uniform(2, 8)
    return [
        strip(atrium[:, : half + 1], atrium[:, half:][:, ::-1], blood, rng, 0.6, 2.5),
        strip(_offset(atrium, -2.5), atrium, wall, rng, texture=3),
    ]


def _right_heart(chambers: Chambers, rng: np.random.Generator) -> list[Cloud]:
    free = chambers.right_wall
    septum = chambers.epi[:, : free.shape[1]]
    atrium = chambers.right_atrium
    half = atrium.shape[1] // 2
    weak = rng.uniform(-14, -6)
    ring = np.linspace(0, 1, 24)[None, :, None]
    leaflet = free[:, :1] * (1 - ring) + septum[:, :1] * ring
    leaflet[..., 1] -= 4 * np.sin(np.pi * ring[..., 0])
    blood = _BLOOD + rng.uniform(1, 7)
    return [
        strip(septum, free, blood, rng, 0.6, 2.5),
        strip(free, _offset(free, 4.0), weak, rng, texture=3),
        strip(atrium[:, : half + 1], atrium[:, half:][:, ::-1], blood, rng, 0.6, 2.5),
        strip(_offset(atrium, -2.5), atrium, weak + 6 * specular(atrium) ** 3, rng, texture=3),
        strip(_offset(leaflet, -0.6), _offset(leaflet, 0.6), rng.uniform(-8, 0), rng),
    ]


def _surroundings(chambers: Chambers, rng: np.random.Generator) -> Cloud:
    """Tissue outside the heart: nearly at rest, streaky, bright around the ring and below."""
    depth = chambers.depth
    count = int(_DENSITY * HALF_ANGLE * depth**2)
    r = depth * np.sqrt(rng.random(count))
    angle = rng.uniform(-HALF_ANGLE, HALF_ANGLE, count)
    rest = np.stack([r * np.sin(angle), r * np.cos(angle)], -1)
    ring = (chambers.endo[:, 0] + chambers.endo[:, -1]) / 2
    near = np.exp(-np.sum((rest - ring[0]) ** 2, -1) / (2 * 35**2))
    points = rest + 0.5 * near[:, None] * (ring - ring[0])[:, None]
    points = points.astype(np.float32)  # (T, N, 2)
    strength = _outer_echo(chambers, rest, r, angle, rng).astype(np.float32)
    amplitude = _flicker(len(points), count, 0.06, rng) * 10 ** (strength / 20)
    amplitude /= np.sqrt(_DENSITY)
    return Cloud(points, amplitude * ~_occupied(chambers, points))


def _outer_echo(
    chambers: Chambers, rest: Array, r: Array, angle: Array, rng: np.random.Generator
) -> Array:
    depth = chambers.depth
    strength = rng.uniform(-16, -9) + 3.0 * (rest[:, 0] > 0)
    places = [
        (chambers.endo[0, -1] + [10, 4], 13, rng.uniform(8, 16)),
        (chambers.endo[0, 0] + [-4, 6], 8, rng.uniform(4, 12)),
    ]
    for centre, size, gain in places:
        strength = strength + gain * np.exp(-np.sum((rest - centre) ** 2, -1) / (2 * size**2))
    floor = chambers.atrium[0, :, 1].max() + 3
    strength = strength + rng.uniform(8, 15) / (1 + np.exp(-(r - floor) / 2.5))
    at = [r / depth * 199, (angle / HALF_ANGLE + 1) / 2 * 99]
    for grain, deviation in (((1.2, 3.5), 4.0), ((9, 9), 4.0)):
        field = gaussian_filter(rng.standard_normal((200, 100)), grain)
        strength = strength + deviation * map_coordinates(field / field.std(), at, order=1)
    return strength


def _occupied(chambers: Chambers, points: np.ndarray) -> np.ndarray:
    """Whether a point lies in the heart, at each frame (T, N)."""
    shape = picture_shape(chambers.depth, 1.0)
    result = np.empty(points.shape[:2], bool)
    for k, at in enumerate(points):
        outlines = [np.concatenate([chambers.endo[k], chambers.epi[k][::-1]]), chambers.endo[k]]
        outlines.append(_offset(chambers.atrium, -2.5)[k])
        if chambers.right_wall is not None:
            free = chambers.right_wall[k]
            outlines.append(np.concatenate([chambers.epi[k][: len(free)], free[::-1]]))
            outlines.append(_offset(chambers.right_atrium, -2.5)[k])
        heart = np.any([fill(outline, shape, 1.0) for outline in outlines], axis=0)
        row = np.clip(at[:, 1].astype(int), 0, shape[0] - 1)
        column = np.clip(np.rint(at[:, 0] + (shape[1] - 1) / 2).astype(int), 0, shape[1] - 1)
        result[k] = heart[row, column]
    return result
