"""The left ventricle as one 3-D shape: how it is drawn, and how it beats.

Both apical views are sections of the same ventricle: they share the length of the long axis and
the volume, V = pi/4 * integral of d_2CH(s) d_4CH(s) over the axis (biplane Simpson), so that the
ejection fraction of their masks is known before a pixel is set. Lengths are in millimetres,
volumes in millilitres; s runs along the long axis from the apex (0) to the mitral plane (1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Dense at the apex, where the width grows like sqrt(s).
AXIS = np.linspace(0.0, 1.0, 81) ** 2
# Of the trapezoidal rule on AXIS.
_WEIGHTS = np.diff(AXIS, prepend=0.0) / 2 + np.diff(AXIS, append=1.0) / 2


@dataclass(frozen=True)
class Ventricle:
    """One patient's left ventricle.

    Attributes:
        edv: End-diastolic volume, ml.
        esv: End-systolic volume, ml.
        length_ed: Long axis at end diastole, mm.
        length_es: Long axis at end systole, mm.
        thickness: Mean wall thickness at end diastole, mm.
        shapes: Relative half-widths (2 views, 2 instants, 2 sides, len(AXIS)); views are 2CH, 4CH,
            instants ED, ES, sides left, right in the picture.
    """

    edv: float
    esv: float
    length_ed: float
    length_es: float
    thickness: float
    shapes: Array

    @property
    def ejection_fraction(self) -> float:
        """Ejection fraction in percent."""
        return 100 * (self.edv - self.esv) / self.edv


def draw_ventricle(rng: np.random.Generator) -> Ventricle:
    """Draw a ventricle: EDV 70 to 200 ml, EF 25 to 70 %, length and wall to match."""
    edv = float(np.clip(101 * np.exp(0.27 * rng.standard_normal()), 70, 200))
    ef = float(np.clip(rng.normal(52, 11) - 0.10 * (edv - 105), 25, 70)) / 100
    length_ed = 78.5 * (edv / 101) ** (1 / 3) * rng.normal(1, 0.03)
    length_es = length_ed * (1 - 0.29 * ef + rng.normal(0, 0.008))
    thickness = float(np.clip(rng.normal(9.3, 1.1), 7, 12))
    sections = [_draw_section(rng) for _ in range(2)]
    return Ventricle(
        edv, edv * (1 - ef), float(length_ed), float(length_es), thickness, np.stack(sections)
    )


def _draw_section(rng: np.random.Generator) -> Array:
    """Relative half-widths of one view (2 instants, 2 sides, len(AXIS))."""
    widest, taper = rng.uniform(0.58, 0.74), rng.uniform(0.12, 0.32)
    blunt = rng.uniform(2.0, 2.6)
    balance = rng.normal(0, 0.06)
    aspect = rng.normal(1, 0.05)
    modes = rng.normal(0, 1, (2, 3)) * [0.035, 0.03, 0.02]
    beat = rng.normal(0, 1, (2, 3)) * [0.06, 0.035, 0.015]
    sections = []
    for systole in (0.0, 1.0):
        # Contraction sharpens the apex and draws the mitral ring in a little.
        bullet = _bullet(widest, taper + 0.05 * systole, blunt - 0.25 * systole)
        waves = np.sin(np.pi * np.outer([1, 2, 3], AXIS))
        sides = bullet * (1 + (modes + systole * beat) @ waves)
        sections.append(aspect * sides * [[1 - balance], [1 + balance]])
    return np.stack(sections)


def _bullet(widest: float, taper: float, blunt: float) -> Array:
    rising = np.clip(AXIS / widest, 0, 1)
    falling = np.clip((AXIS - widest) / (1 - widest), 0, 1)
    return np.sqrt(1 - (1 - rising) ** blunt) * (1 - taper * falling**2)


@dataclass(frozen=True)
class Beat:
    """The ventricle over the frames of one film, ED first.

    Attributes:
        phase: (T,), 0 at ED, 1 at ES.
        length: Long axis (T,), mm.
        widths: Half-widths (T, 2 views, 2 sides, len(AXIS)), mm.
        wall: Mean wall thickness (T,), mm.
    """

    phase: Array
    length: Array
    widths: Array
    wall: Array


def contraction(frames: int) -> Array:
    """The share of the ejection that is done at each frame, from 0 (ED) to 1 (ES).

    A line mixed with a cosine: ejection is fastest in mid-systole, and no frame stands still.

    Args:
        frames: Number of frames, at least 2.
    """
    time = np.linspace(0, 1, frames)
    return 0.45 * time + 0.55 * (1 - np.cos(np.pi * time)) / 2


def beat(ventricle: Ventricle, frames: int) -> Beat:
    """Let a ventricle contract from ED to ES: volume, length, widths, wall.

    Args:
        ventricle: The patient's ventricle.
        frames: Number of frames, at least 2.
    """
    phase = contraction(frames)
    length = ventricle.length_ed + (ventricle.length_es - ventricle.length_ed) * phase
    volume = ventricle.edv + (ventricle.esv - ventricle.edv) * phase
    at_ed, at_es = ventricle.shapes[:, 0], ventricle.shapes[:, 1]
    mix = phase[:, None, None, None]
    widths = (1 - mix) * at_ed + mix * at_es  # (T, 2, 2, S)
    scale = np.sqrt(1000 * volume / disk_volume(widths.sum(2), length))
    widths = widths * scale[:, None, None, None]
    return Beat(phase, length, widths, _wall_thickness(widths, length, ventricle.thickness))


def disk_volume(diameters: Array, length: Array) -> Array:
    """Volume of a stack of elliptic disks, in cubic millimetres.

    Args:
        diameters: (T, 2 views, len(AXIS)), mm.
        length: (T,), mm.
    """
    return np.pi / 4 * length * ((diameters[:, 0] * diameters[:, 1]) @ _WEIGHTS)


def _wall_thickness(widths: Array, length: Array, thickness: float) -> Array:
    """Wall thickness (T,) that keeps the wall's volume, around the sides and over the apex.

    A wall h thick around disks of diameters d and e has the area pi/4 ((d+2h)(e+2h) - d e), which
    is quadratic in h; so is its sum over the axis.
    """
    diameters = widths.sum(2)  # (T, 2, S)
    linear = np.pi / 2 * length * (diameters.sum(1) @ _WEIGHTS)
    square = np.pi * length
    wall_volume = linear[0] * thickness + square[0] * thickness**2
    return (np.sqrt(linear**2 + 4 * square * wall_volume) - linear) / (2 * square)
