"""What scatters the sound in a view, and how strongly: wall, blood, valves, surroundings.

Strengths are in dB, 0 for septal myocardium; the ranges were chosen by eye and by the grey levels
of real apical films.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from echozoo.phantom.anatomy import Array
from echozoo.phantom.chambers import HALF_ANGLE, Chambers, fill, offset, picture_shape
from echozoo.phantom.scattering import (
    DENSITY,
    Cloud,
    flicker,
    join,
    specular,
    strip,
    waves,
)

_BLOOD = -29.0  # dB


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
    # The side wall runs along the beam and lies behind lung, the apex in the near field's haze:
    # both are weaker than the septum.
    side = 1 / (1 + np.exp(-(u - rng.uniform(0.52, 0.66)) / 0.05))
    apex = np.exp(-(((u - rng.uniform(0.44, 0.52)) / 0.10) ** 2))
    wall = rng.uniform(-4, 2) - rng.uniform(2, 10) * side - rng.uniform(4, 11) * apex
    wall = wall - rng.uniform(0, 5) * (view == "2CH") * (u < 0.45)
    wall = wall + 2.5 * waves(n, 5, rng) + loss
    edge = wall - 7 + 10 * specular(endo) ** 3
    border = wall - 5 + 10 * specular(epi) ** 3
    half = n // 2
    return [
        strip(endo, epi, wall, rng, texture=4.5, core=rng.uniform(3, 9)),
        strip(offset(endo, -0.5), offset(endo, 0.5), edge, rng, texture=3),
        strip(offset(epi, -0.8), offset(epi, 0.8), border, rng, texture=3),
        *_trabeculae(endo, wall, rng),
        strip(endo[:, : half + 1], endo[:, half:][:, ::-1], _BLOOD, rng, 0.6, 1.5),
    ]


def _trabeculae(endo: Array, wall: Array, rng: np.random.Generator) -> list[Cloud]:
    """What reaches into the cavity: a ragged lining, a papillary muscle, chordae."""
    n = endo.shape[1]
    lining = np.clip(0.5 + 1.6 * waves(n, 2, rng), 0, 4) * np.sin(np.pi * np.linspace(0, 1, n))
    clouds = [strip(offset(endo, -lining), endo, wall - 5, rng, texture=4)]
    if rng.random() < 0.6:
        start = int(n * rng.choice([rng.uniform(0.2, 0.3), rng.uniform(0.62, 0.76)]))
        part = endo[:, start : start + int(0.1 * n)]
        shape = np.sin(np.linspace(0, np.pi, part.shape[1]))
        inner = offset(part, -rng.uniform(2, 6) * shape)
        clouds.append(strip(inner, part, rng.uniform(-12, -4), rng, texture=4))
    for _ in range(rng.poisson(3)):
        # A short thread somewhere in the basal half, seen end-on or along.
        row, across = rng.integers(4, n // 3), rng.uniform(0.1, 0.9)
        at = endo[:, row] * (1 - across) + endo[:, n - 1 - row] * across  # (T, 2)
        thread = at[:, None] + np.linspace(0, 1, 6)[:, None] * rng.normal(0, 2, 2)
        clouds.append(strip(thread, thread + [0.3, 0.9], rng.uniform(-12, 4), rng, 0.3, 2))
    return clouds


def _valve(endo: Array, rng: np.random.Generator) -> list[Cloud]:
    """Two leaflets that meet above the ring's plane and tent less as the ventricle empties."""
    left, right = endo[:, :1], endo[:, -1:]
    frames = len(endo)
    across = right - left
    up = np.stack([across[..., 1], -across[..., 0]], -1)
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    phase = np.linspace(0, 1, frames)[:, None, None]
    meet = rng.uniform(0.45, 0.68)
    tent = rng.uniform(1, 8) * (1 - 0.6 * phase)
    gap = rng.uniform(0, 0.3) * np.exp(-phase / 0.06)
    t = np.linspace(0, 1, 24)[None, :, None]
    clouds = []
    for ring, sign, reach in ((left, 1, meet), (right, -1, 1 - meet)):
        sag = tent * np.sin(np.pi / 2 * t) ** rng.uniform(0.7, 1.6)
        sag = sag + rng.uniform(-2.5, 1.5) * np.sin(np.pi * t) + 10 * gap * t
        leaflet = ring + sign * across * (reach - gap / 2) * t + up * sag
        thick = rng.uniform(0.5, 1.1) * (1 + 0.5 * t[..., 0] ** 3)
        strength = rng.uniform(-13, -1) + 6 * specular(leaflet) ** 2 + 5 * waves(24, 3, rng)
        clouds.append(strip(offset(leaflet, -thick), offset(leaflet, thick), strength, rng, 0.2, 3))
    return clouds


def _left_atrium(chambers: Chambers, rng: np.random.Generator) -> list[Cloud]:
    atrium = chambers.atrium
    m = atrium.shape[1]
    wall = rng.uniform(-16, -6) + 6 * specular(atrium) ** 3 + 6 * waves(m, 5, rng)
    thick = 3.5 + 1.2 * np.clip(waves(m, 4, rng), -1.5, 1.5)
    return [
        _blood(atrium, rng.uniform(6, 18), rng),
        strip(offset(atrium, -thick), offset(atrium, 1), wall, rng, texture=4, core=6),
    ]


def _blood(sack: Array, above: float, rng: np.random.Generator) -> Cloud:
    half = sack.shape[1] // 2
    first, second = sack[:, : half + 1], sack[:, half:][:, ::-1]
    return strip(first, second, _BLOOD + above, rng, 0.6, 3.5)


def _right_heart(chambers: Chambers, rng: np.random.Generator) -> list[Cloud]:
    free = chambers.right_wall
    k = free.shape[1]
    septum, atrium = chambers.epi[:, :k], chambers.right_atrium
    m = atrium.shape[1]
    weak = rng.uniform(-22, -11)
    wall = weak + 5 * waves(k, 4, rng)
    t = np.linspace(0, 1, 24)[None, :, None]
    leaflet = free[:, :1] * (1 - t) + septum[:, :1] * t
    leaflet[..., 1] -= rng.uniform(-2, 6) * np.sin(np.pi * t[..., 0])
    valve = rng.uniform(-22, -4) + 5 * waves(24, 3, rng)
    sack = weak + 4 * specular(atrium) ** 3 + 5 * waves(m, 5, rng)
    ragged = free - (free - septum) * (0.12 * np.abs(waves(k, 2, rng)))[:, None]
    return [
        strip(septum, free, _BLOOD + rng.uniform(2, 9), rng, 0.6, 3.5),
        strip(ragged, offset(free, 4.0), wall, rng, texture=4),
        _blood(atrium, rng.uniform(2, 10), rng),
        strip(offset(atrium, -3), offset(atrium, 1), sack, rng, texture=4),
        strip(offset(leaflet, -0.7), offset(leaflet, 0.7), valve, rng),
    ]


def _surroundings(chambers: Chambers, rng: np.random.Generator) -> Cloud:
    """Tissue outside the heart: nearly at rest, streaky, bright around the ring and below."""
    depth = chambers.depth
    count = int(DENSITY * HALF_ANGLE * depth**2)
    r = depth * np.sqrt(rng.random(count))
    angle = rng.uniform(-HALF_ANGLE, HALF_ANGLE, count)
    rest = np.stack([r * np.sin(angle), r * np.cos(angle)], -1)
    ring = (chambers.endo[:, 0] + chambers.endo[:, -1]) / 2
    near = np.exp(-np.sum((rest - ring[0]) ** 2, -1) / (2 * 35**2))
    points = rest + 0.5 * near[:, None] * (ring - ring[0])[:, None]
    points = points.astype(np.float32)  # (T, N, 2)
    strength = _outer_echo(chambers, rest, r, angle, rng).astype(np.float32)
    amplitude = flicker(len(points), count, 0.06, rng) * 10 ** (strength / 20)
    amplitude /= np.sqrt(DENSITY)
    return Cloud(points, amplitude * ~_occupied(chambers, points))


def _outer_echo(
    chambers: Chambers, rest: Array, r: Array, angle: Array, rng: np.random.Generator
) -> Array:
    depth = chambers.depth
    strength = rng.uniform(-21, -12) + 4.0 / (1 + np.exp(-rest[:, 0] / 10))
    strength = strength - rng.uniform(2, 9) * (angle / HALF_ANGLE) ** 4
    places = [
        (chambers.endo[0, -1] + [9, 2], rng.uniform(9, 18), rng.uniform(12, 26)),
        (chambers.endo[0, 0] + [-5, 6], rng.uniform(5, 10), rng.uniform(8, 20)),
    ]
    for centre, size, gain in places:
        strength = strength + gain * np.exp(-np.sum((rest - centre) ** 2, -1) / (2 * size**2))
    floor = chambers.atrium[0, :, 1].max() + 3
    strength = strength + rng.uniform(7, 22) / (1 + np.exp(-(r - floor) / 2.5))
    at = [r / depth * 199, (angle / HALF_ANGLE + 1) / 2 * 99]
    for grain, deviation in (((1.0, 3.5), 3.5), ((3, 6), 3.5), ((14, 12), 5.0)):
        field = gaussian_filter(rng.standard_normal((200, 100)), grain)
        strength = strength + deviation * map_coordinates(field / field.std(), at, order=1)
    return strength


def _occupied(chambers: Chambers, points: np.ndarray) -> np.ndarray:
    """Whether a point lies in the heart, at each frame (T, N)."""
    shape = picture_shape(chambers.depth, 1.0)
    result = np.empty(points.shape[:2], bool)
    for k, at in enumerate(points):
        outlines = [np.concatenate([chambers.endo[k], chambers.epi[k][::-1]]), chambers.endo[k]]
        outlines.append(offset(chambers.atrium, -2.5)[k])
        if chambers.right_wall is not None:
            free = chambers.right_wall[k]
            outlines.append(np.concatenate([chambers.epi[k][: len(free)], free[::-1]]))
            outlines.append(offset(chambers.right_atrium, -2.5)[k])
        heart = np.any([fill(outline, shape, 1.0) for outline in outlines], axis=0)
        row = np.clip(at[:, 1].astype(int), 0, shape[0] - 1)
        column = np.clip(np.rint(at[:, 0] + (shape[1] - 1) / 2).astype(int), 0, shape[1] - 1)
        result[k] = heart[row, column]
    return result
