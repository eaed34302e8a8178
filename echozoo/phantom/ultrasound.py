"""From scatterers to the grey picture: pulse and beam, envelope, log compression, scan conversion.

The echo of a scatterer at depth r arrives with the carrier's phase exp(-i 4 pi r / wavelength).
Echoes are summed in baseband (quadrature demodulated) on the polar grid of beams and depths and
blurred by the point-spread function, a Gaussian in depth and in angle; the magnitude of the sum
is the envelope. Many scatterers in a cell give fully developed speckle: a Rayleigh envelope, with
mean / deviation = 1.91. A scatterer that moves changes its phase, so speckle decorrelates over
the frames as tissue strains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d, gaussian_filter, map_coordinates

from echozoo.phantom.chambers import HALF_ANGLE

BEAMS = 168
DEPTH_STEP = 0.3  # mm
_KERNEL = 7  # reach of the point-spread function, cells
_BEAM_STEP = 2 * HALF_ANGLE / (BEAMS - 1)


@dataclass(frozen=True)
class Probe:
    """A phased array.

    Attributes:
        depth: Depth of the picture, mm.
        wavelength: Of the carrier, mm.
        pulse: Deviation of the pulse in depth, mm.
        beam: Deviation of the beam at its focus, in beams (0.45 degrees).
        focus: Depth of the focus, mm.
    """

    depth: float
    wavelength: float = 0.6
    pulse: float = 0.42
    beam: float = 1.15
    focus: float = 90.0

    @property
    def ranges(self) -> np.ndarray:
        """Depth of each sample, mm."""
        return (np.arange(round(self.depth / DEPTH_STEP)) + 0.5) * DEPTH_STEP

    @property
    def angles(self) -> np.ndarray:
        """Direction of each beam, radians, 0 straight down."""
        return np.linspace(-HALF_ANGLE, HALF_ANGLE, BEAMS)


def backscatter(probe: Probe, points: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Sum scatterers on the polar grid, each with its carrier phase.

    Depth gain is applied for the spreading of the beams: after `spread`, tissue whose scatterers'
    squared amplitudes sum to 1 in a square millimetre has an envelope of mean square 1 anywhere.

    Args:
        probe: The probe.
        points: Positions (N, 2), mm; those outside the sector are lost.
        amplitude: (N,).

    Returns:
        Baseband signal before the point-spread function (depths, beams), complex.
    """
    shape = (len(probe.ranges), BEAMS)
    r = np.hypot(points[:, 0], points[:, 1])
    beam = (np.arctan2(points[:, 0], points[:, 1]) + HALF_ANGLE) / _BEAM_STEP
    row = (r / DEPTH_STEP).astype(np.int64)
    left = np.floor(beam).astype(np.int64)
    seen = (row < shape[0]) & (left >= 0) & (left < BEAMS - 1)
    row, left, share = row[seen], left[seen], (beam - left)[seen]
    phase = r[seen] * np.float32(4 * np.pi / probe.wavelength)
    cell = row * BEAMS + left
    signal = np.zeros(shape[0] * BEAMS, complex)
    for carrier, unit in ((np.cos(phase), 1), (-np.sin(phase), 1j)):
        echo = amplitude[seen] * carrier
        for step, weight in ((0, 1 - share), (1, share)):
            signal += unit * np.bincount(cell + step, echo * weight, len(signal))
    cell_area = DEPTH_STEP * _BEAM_STEP * probe.ranges
    return signal.reshape(shape) / np.sqrt(cell_area)[:, None]


def spread(probe: Probe, signal: np.ndarray) -> np.ndarray:
    """Apply the point-spread function: Gaussian in depth and angle, wider away from the focus.

    A beam of constant angle is wider, in mm, the deeper it goes. White noise keeps its variance.

    Args:
        probe: The probe.
        signal: Baseband signal (depths, beams), complex.
    """
    share = np.exp(-(((probe.ranges - probe.focus) / 70) ** 2))[:, None]
    pulse = _gaussian(probe.pulse / DEPTH_STEP)
    sharp, wide = _gaussian(probe.beam), _gaussian(2.2 * probe.beam)
    axial = convolve1d(signal, pulse / np.linalg.norm(pulse), axis=0, mode="constant")
    lateral = share * convolve1d(axial, sharp, axis=1) + (1 - share) * convolve1d(
        axial, wide, axis=1
    )
    return lateral / np.linalg.norm(share * sharp + (1 - share) * wide, axis=1, keepdims=True)


def _gaussian(deviation: float) -> np.ndarray:
    reach = np.arange(-_KERNEL, _KERNEL + 1)
    kernel = np.exp(-((reach / deviation) ** 2) / 2)
    return kernel / kernel.sum()


def white_field(probe: Probe, rng: np.random.Generator) -> np.ndarray:
    """Complex white noise on the polar grid (depths, beams), variance 1."""
    real, imaginary = rng.standard_normal((2, len(probe.ranges), BEAMS), dtype=np.float32)
    return (real + 1j * imaginary) / np.sqrt(2)


def compress(envelope: np.ndarray, floor: float, span: float) -> np.ndarray:
    """Log compression to [0, 255].

    Args:
        envelope: Magnitude, any shape.
        floor: What becomes black, dB.
        span: Dynamic range between black and white, dB.
    """
    decibel = 20 * np.log10(envelope + 1e-12)
    return np.clip((decibel - floor) / span, 0, 1) * 255


def smooth(grey: np.ndarray) -> np.ndarray:
    """The scanner's own speckle reduction: a small blur of the compressed picture.

    Args:
        grey: (depths, beams).
    """
    return gaussian_filter(grey, (1.2, 0.8), truncate=3)


class ScanConverter:
    """Polar to Cartesian, black outside the sector.

    Args:
        probe: The probe.
        shape: Picture (H, W).
        spacing: Side of a pixel, mm.
    """

    def __init__(self, probe: Probe, shape: tuple[int, int], spacing: float) -> None:
        x = (np.arange(shape[1]) - (shape[1] - 1) / 2) * spacing
        y = (np.arange(shape[0]) + 0.5) * spacing
        r = np.hypot(x[None], y[:, None])
        angle = np.arctan2(x[None], y[:, None])
        self.inside = (np.abs(angle) <= HALF_ANGLE) & (r <= probe.depth)
        row = r[self.inside] / DEPTH_STEP - 0.5
        beam = (angle[self.inside] + HALF_ANGLE) / _BEAM_STEP
        self._at = np.stack([row, beam])

    def __call__(self, polar: np.ndarray) -> np.ndarray:
        """Convert one picture (depths, beams) of grey values to (H, W) uint8."""
        picture = np.zeros(self.inside.shape, np.uint8)
        values = map_coordinates(polar, self._at, order=1, mode="nearest")
        picture[self.inside] = np.clip(np.rint(values), 0, 255)
        return picture
