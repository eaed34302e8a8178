"""One film: a ventricle seen in one view, with its exact masks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from echozoo.phantom.anatomy import Ventricle, beat
from echozoo.phantom.artefacts import SEVERITY, Clutter, gain, wall_dropouts
from echozoo.phantom.chambers import draw_chambers, label_maps, picture_shape
from echozoo.phantom.scene import scatterers
from echozoo.phantom.ultrasound import (
    Probe,
    ScanConverter,
    backscatter,
    compress,
    smooth,
    spread,
)


@dataclass(frozen=True)
class PhantomFilm:
    """A half sequence, ED first.

    Attributes:
        images: (T, H, W) uint8.
        labels: (T, H, W) uint8, 0 background, 1 LV cavity, 2 myocardium, 3 left atrium.
        spacing: Side of a pixel, mm.
        quality: ``"Good"``, ``"Medium"`` or ``"Poor"``.
    """

    images: np.ndarray
    labels: np.ndarray
    spacing: float
    quality: str


def render_film(
    ventricle: Ventricle,
    view: str,
    frames: int,
    spacing: float,
    quality: str,
    rng: np.random.Generator,
    flicker: bool = False,
) -> PhantomFilm:
    """Film a ventricle from ED to ES.

    Args:
        ventricle: The patient's ventricle.
        view: ``"2CH"`` or ``"4CH"``.
        frames: Number of frames, at least 2.
        spacing: Side of a pixel, mm.
        quality: A key of `SEVERITY`.
        rng: Source of randomness.
        flicker: Whether dropouts and shadows come and go frame by frame.
    """
    chambers = draw_chambers(beat(ventricle, frames), view, rng)
    shape = picture_shape(chambers.depth, spacing)
    severity = replace(SEVERITY[quality], flicker=flicker)
    probe = Probe(chambers.depth, focus=rng.uniform(70, 120), beam=rng.uniform(1.0, 1.4))
    loss = wall_dropouts(severity, frames, chambers.endo.shape[1], rng)
    cloud = scatterers(chambers, view, loss, rng)
    level = 10 ** (gain(probe, severity, frames, rng) / 20)
    clutter = Clutter(probe, severity, frames, rng)
    convert = ScanConverter(probe, shape, spacing)
    images = np.empty((frames, *shape), np.uint8)
    floor, span = rng.uniform(-37, -28), rng.uniform(40, 54)
    for k in range(frames):
        signal = level[k] * backscatter(probe, cloud.points[k], cloud.amplitude[k])
        power = np.abs(spread(probe, signal + clutter.haze(k))) ** 2 + clutter.noise()
        images[k] = convert(smooth(compress(np.sqrt(power), floor, span)))
    return PhantomFilm(images, label_maps(chambers, shape, spacing), spacing, quality)
