"""What spoils an echo film, and comes and goes between its frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from echozoo.phantom.anatomy import Array
from echozoo.phantom.ultrasound import Probe, white_field

_LOOKS = 4  # that are averaged into one picture
QUALITIES = ("Good", "Medium", "Poor")
# How often CAMUS's 500 patients have each, by view.
_SHARE = {"4CH": (0.58, 0.33, 0.09), "2CH": (0.43, 0.43, 0.14)}


@dataclass(frozen=True)
class Severity:
    """How bad a film is.

    Attributes:
        dropouts: Mean number of wall patches that vanish.
        shadows: Mean number of shadows.
        haze: Strength of near-field haze, dB.
        noise: Strength of the receiver's noise in mid-depth, dB.
        flicker: Whether patches and shadows come and go frame by frame: what a frame lacks, its
            neighbours may show. Else they fade over a good part of the film.
    """

    dropouts: float
    shadows: float
    haze: float
    noise: float
    flicker: bool = False

    def course(self, frames: int, rng: np.random.Generator) -> Array:
        """Draw how far something has vanished at each frame, (T,) in [0, 1]."""
        if self.flicker:
            return (rng.random(frames) < 0.5).astype(float)
        return _fading(frames, rng)


SEVERITY = {
    "Good": Severity(1.0, 0.5, -19.0, -25.0),
    "Medium": Severity(2.0, 1.0, -16.0, -22.0),
    "Poor": Severity(3.0, 1.6, -13.0, -19.5),
}


def draw_quality(view: str, rng: np.random.Generator) -> str:
    """Draw an image quality with CAMUS's shares for the view."""
    return str(rng.choice(QUALITIES, p=_SHARE[view]))


def _fading(frames: int, rng: np.random.Generator) -> Array:
    """A course over the frames (T,) in [0, 1] that appears and vanishes some times."""
    pulse = rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(0.8, 2.2) * 2 * np.pi, frames)
    return 1 / (1 + np.exp(-4 * (np.sin(pulse) + rng.uniform(-0.3, 0.5))))


def wall_dropouts(severity: Severity, frames: int, points: int, rng: np.random.Generator) -> Array:
    """Loss of the wall's echo along the endocardium, over the frames.

    Args:
        severity: Of the film.
        frames: T.
        points: n points along the wall.
        rng: Source of randomness.

    Returns:
        (T, n), dB, 0 or negative.
    """
    u = np.linspace(0, 1, points)
    loss = np.zeros((frames, points))
    for _ in range(1 + rng.poisson(severity.dropouts)):
        # Mostly in the side wall, sometimes at the apex, rarely in the septum.
        centre, width = rng.beta(2.6, 1.4), rng.uniform(0.03, 0.10)
        patch = np.exp(-(((u - centre) / width) ** 4))
        loss -= rng.uniform(8, 18) * np.outer(severity.course(frames, rng), patch)
    return np.maximum(loss, -22)


def gain(probe: Probe, severity: Severity, frames: int, rng: np.random.Generator) -> Array:
    """Gain of the tissue's echo (T, depths, beams), dB: depth gain, shadows, edges, drift."""
    depth = np.linspace(0, 1, len(probe.ranges))
    angle = np.linspace(-1, 1, len(probe.angles))
    knots = rng.normal(0, 2.0, 5) + [-1, 0, 0, 0, 1]
    steady = np.interp(depth, np.linspace(0, 1, 5), knots)[:, None]
    steady = steady - rng.uniform(1, 5) * np.abs(angle) ** 4
    across = gaussian_filter1d(rng.standard_normal(len(angle)), 9, mode="nearest")
    steady = steady + 1.5 * across / across.std()
    drift = np.cumsum(rng.normal(0, 0.25, frames))
    total = np.broadcast_to(steady, (frames, *steady.shape)) + drift[:, None, None]
    for _ in range(rng.poisson(severity.shadows)):
        side = rng.choice([-1, 1]) * rng.beta(3, 1.6)
        width, start = rng.uniform(0.04, 0.13), rng.uniform(0.05, 0.45)
        below = 1 / (1 + np.exp(-(depth - start) / 0.03))[:, None]
        place = side + np.linspace(0, rng.normal(0, 0.08), frames)[:, None]
        beams = np.exp(-(((angle - place) / width) ** 4)) * severity.course(frames, rng)[:, None]
        total = total - rng.uniform(8, 20) * below * beams[:, None]
    return total


class Clutter:
    """What the probe hears besides tissue, frame after frame: reverberation, haze, noise.

    Haze stands still while the heart moves: its speckle changes slowly. Noise is new each frame.

    Args:
        probe: The probe.
        severity: Of the film.
        frames: T.
        rng: Source of randomness.
    """

    def __init__(
        self, probe: Probe, severity: Severity, frames: int, rng: np.random.Generator
    ) -> None:
        self._probe, self._rng = probe, rng
        r = probe.ranges[:, None]
        reach, bands = rng.uniform(35, 60), rng.uniform(3.5, 5.5)
        rings = 1 + 0.8 * np.cos(2 * np.pi * (r / bands + rng.random()))
        tip = 10 ** (rng.uniform(-8, 5) / 20) * rings * np.exp(-((r / 14) ** 2))
        chest = 10 ** (rng.uniform(-12, 2) / 20) * np.exp(-(((r - rng.uniform(12, 20)) / 3) ** 2))
        level = severity.haze + rng.normal(0, 2)
        haze = 10 ** (level / 20) * (np.exp(-((r / reach) ** 2)) + 0.35)
        self._profile = tip + chest * np.exp(-((probe.angles / 0.35) ** 2)) + haze
        self._breath = 10 ** (rng.normal(0, 1.5) * _fading(frames, rng) / 20)
        rise = rng.uniform(-2, 13) * (r / probe.depth - 0.5)
        self._noise = 10 ** ((severity.noise + rng.normal(0, 1.5) + rise) / 20)
        self._field = white_field(probe, rng)

    def haze(self, index: int) -> np.ndarray:
        """Haze and reverberation of one frame, before the point-spread function.

        Args:
            index: 0, 1, 2, ... in this order.

        Returns:
            (depths, beams), complex.
        """
        if index:
            fresh = white_field(self._probe, self._rng)
            self._field = 0.92 * self._field + np.sqrt(1 - 0.92**2) * fresh
        return self._field * self._profile * self._breath[index]

    def noise(self) -> np.ndarray:
        """Power of the receiver's noise in one frame (depths, beams), averaged over some looks."""
        looks = self._rng.standard_gamma(_LOOKS, self._field.shape, dtype=np.float32) / _LOOKS
        return looks * self._noise**2
