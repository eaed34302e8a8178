"""The ultrasound sector of a film: what a network is to see of a scanner's screen.

Research data are cut to the sector; what a scanner exports is its screen, with text, an ECG, a
colour bar and depth marks around a sector that is smaller than the networks have learnt. So films
are cut before a network sees them, and the masks put back afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from echozoo.films.film import NO_SPACING, EchoFilm
from echozoo.films.readers.dicom_header import DIFFERENT

HEADER, DETECTED, WHOLE = "header", "detected", "whole"
NOT_FOUND = "no sector found: the whole image is used"

_FRAMES = 12  # looked at
_SIDE = 512  # pixels, the longer side of what is looked at
# Grey levels between the brightest and the darkest moment, and from the background in a still.
_CLEARLY, _FAINTLY = (8, 6), (2, 2)
_NEVER_LIT = 2  # grey levels, of what the brightest moment shows outside of the sector
_THIN = 0.035  # of the shorter side: text and traces are no wider
_LEAST = 0.06  # of the image, the smallest sector
_SOLID = 0.75  # of its hull, what a sector covers at least
_NARROW = 0.8  # of its greatest width, the most that a sector has near the transducer
_ALL = 0.88  # of the image: what covers as much is the image


class Sector(NamedTuple):
    """A part of an image: rows ``top`` to ``bottom - 1``, columns ``left`` to ``right - 1``.

    Attributes:
        how: `HEADER`, the file says it; `DETECTED`; or `WHOLE`, the image itself.
        note: What the user should know, one line, or "".
        spacing: (dy, dx) mm that the file says of this part, None where it says none.
    """

    top: int
    left: int
    bottom: int
    right: int
    how: str = WHOLE
    note: str = ""
    spacing: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.bottom - self.top, self.right - self.left

    def cut(self, images: np.ndarray) -> np.ndarray:
        """The part (..., h, w) of images (..., H, W)."""
        return images[..., self.top : self.bottom, self.left : self.right]


def whole_image(size: tuple[int, int], note: str = "") -> Sector:
    """All of an image (H, W)."""
    return Sector(0, 0, *size, WHOLE, note)


def find_sector(film: EchoFilm) -> Sector:
    """Find the sector of a film: where its header says it is, else by its look.

    A region of the header that covers the image says nothing, and the look decides.
    """
    facts = film.facts
    regions = [] if facts is None or facts.size != tuple(film.size) else facts.tissue_regions
    for region in regions[:1]:
        told = Sector(*region[:4], HEADER, "cut to the 2-D region of its header", region.spacing)
        if told.size[0] * told.size[1] < _ALL * film.size[0] * film.size[1]:
            others = f", the largest of {len(regions)}" if len(regions) > 1 else ""
            return told._replace(note=told.note + others)
    places = np.unique(np.linspace(0, film.num_frames - 1, _FRAMES).round().astype(int))
    return detect_sector(np.concatenate([film.frames(place, place + 1) for place in places]))


def cut_film(film: EchoFilm, sector: Sector) -> EchoFilm:
    """The film of the sector alone, which reads from the film (its ``whole``) while that is open.

    Its spacing is the film's; where the header gives several regions different ones, and the film
    so none, that of the sector.
    """
    notes = [*film.notes, sector.note] if sector.note else film.notes
    if sector.how == WHOLE:
        return replace(film, notes=notes)
    if film.spacing is None and sector.spacing is not None:
        notes = [note for note in notes if note != NO_SPACING and DIFFERENT not in note]
    steps, origin = film.geometry.axes()
    corner = origin + steps @ np.array([sector.left, sector.top])
    whole = replace(film, notes=notes)
    return replace(
        film,
        size=sector.size,
        spacing=film.spacing or sector.spacing,
        notes=notes,
        geometry=film.geometry._replace(origin=tuple(corner[: len(film.geometry.origin)].tolist())),
        _read=lambda start, stop: np.ascontiguousarray(sector.cut(whole.frames(start, stop))),
        whole=whole,
        place=(sector.top, sector.left),
    )


def outside_sector(film: EchoFilm) -> np.ndarray:
    """What of a film (H, W) is no part of its sector: all beside the hull of what is ever lit."""
    places = np.unique(np.linspace(0, film.num_frames - 1, _FRAMES).round().astype(int))
    lit = np.max([film.frames(place, place + 1)[0] for place in places], axis=0) > _NEVER_LIT
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(_without_thin(lit)[1])
    if count < 2:
        return np.zeros(lit.shape, bool)
    largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    return _hull((pieces == largest).astype(np.uint8)) == 0


def detect_sector(frames: np.ndarray) -> Sector:
    """Find what moves, or is lit where nothing moves, is connected and becomes wider downwards.

    What is thin (text, traces, bars, marks) is taken away first. The transducer's end, which is
    thin too, comes back as the place where the two flanks meet.

    Args:
        frames: (n, H, W) uint8 from all of the film; n = 1 is a still.

    Returns:
        The sector; the whole image where it fills that, or where there is none.
    """
    size = frames.shape[1:]
    scale = min(1.0, _SIDE / max(size))
    small = [cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for f in frames]
    seen = np.stack(small)
    fan = _fan(seen)
    if fan is None:
        return whole_image(size, NOT_FOUND)
    top, left, bottom, right = fan
    (h, w), (height, width) = seen.shape[1:], size
    if (bottom - top) * (right - left) >= _ALL * h * w:
        return whole_image(size)
    found = Sector(
        int(top * height / h),
        int(left * width / w),
        min(int(np.ceil(bottom * height / h)), height),
        min(int(np.ceil(right * width / w)), width),
        DETECTED,
    )
    place = f"rows {found.top}-{found.bottom - 1}, columns {found.left}-{found.right - 1}"
    return found._replace(note=f"cut to its sector, found at {place}")


def _shown(frames: np.ndarray, levels: tuple[int, int]) -> np.ndarray:
    """Where (h, w) something moves by more than a level; where it is lit, if too little moves."""
    moving = np.ptp(frames, axis=0)
    if (moving > _CLEARLY[0]).mean() > _LEAST / 2:
        return moving > levels[0]
    image = frames.max(0)
    background = int(np.bincount(image.ravel(), minlength=256).argmax())
    around = np.ones((5, 5), np.uint8)
    even = cv2.dilate(image, around) - cv2.erode(image, around) < 2  # a drawn bar, no speckle
    return (np.abs(image.astype(int) - background) > levels[1]) & ~even


def _fan(frames: np.ndarray) -> tuple[int, int, int, int] | None:
    """The box (top, left, bottom, right) of the largest fan of frames (n, h, w); None without.

    What fills the frames is taken whatever its shape: they may be cut to the inside of a sector.
    """
    shown, faint = _shown(frames, _CLEARLY), _shown(frames, _FAINTLY)
    mask, core = _without_thin(shown)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(core)
    largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else 0
    if not largest or stats[largest, cv2.CC_STAT_AREA] < _LEAST * shown.size:
        return None
    piece = (pieces == largest).astype(np.uint8)
    filled = _hull(piece)
    rows, widths = np.flatnonzero(filled.any(1)), filled.sum(1)
    if len(rows) * filled.any(0).sum() >= _ALL * shown.size:
        return 0, 0, *shown.shape
    near = widths[rows[0] + len(rows) // 10]
    if piece.sum() < _SOLID * filled.sum() or near > _NARROW * widths.max():
        return None
    flanks = _flanks(filled)
    top, bottom = _transducer(mask, rows[0], *flanks), int(rows[-1]) + 1
    # Its lower corners are often too dark to be seen clearly: what is faint counts between flanks.
    between = np.indices(shown.shape)[1] - np.polyval(flanks[0], np.arange(len(shown)))[:, None]
    widths = np.polyval(flanks[1] - flanks[0], np.arange(len(shown)))[:, None]
    cone = (between >= 0) & (between <= widths)
    cone[bottom:] = False
    _, pieces = cv2.connectedComponents(_without_thin(faint & cone)[1] | piece)
    columns = np.flatnonzero((pieces == np.bincount(pieces[piece > 0]).argmax()).any(0))
    return top, int(columns[0]), bottom, int(columns[-1]) + 1


def _without_thin(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mask (h, w) with its gaps closed, and what is left of that without what is thin."""
    thin = max(3, round(_THIN * min(mask.shape)))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _disc(max(3, thin // 2)))
    return closed, cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(thin))


def _hull(mask: np.ndarray) -> np.ndarray:
    hull = cv2.convexHull(cv2.findNonZero(mask))
    return cv2.fillConvexPoly(np.zeros_like(mask), hull, 1)


def _disc(size: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size | 1, size | 1))


def _flanks(filled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column of each flank as a line in the row, (slope, offset), from the upper half."""
    rows = np.flatnonzero(filled.any(1))
    rows = rows[len(rows) // 10 : max(len(rows) // 2, len(rows) // 10 + 3)]
    left = filled[rows].argmax(1)
    right = filled.shape[1] - filled[rows, ::-1].argmax(1)
    return np.polyfit(rows, left, 1), np.polyfit(rows, right, 1)


def _transducer(mask: np.ndarray, top: int, left: np.ndarray, right: np.ndarray) -> int:
    """The row where the fan begins: between its flanks, half of a row is still lit."""
    for row in range(int(top) - 1, -1, -1):
        first, last = round(np.polyval(left, row)), round(np.polyval(right, row))
        if last <= first or mask[row, max(first, 0) : last].mean() < 0.5:
            return row + 1
    return 0
