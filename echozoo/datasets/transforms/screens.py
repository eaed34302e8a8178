"""What varies between the screens that films are taken from: the sector, and all around it.

Research data are cropped to the sector; a scanner's own film shows its screen: text, a colour bar,
an ECG, depth marks, and a sector of any size anywhere between them.
"""

from __future__ import annotations

import string

import cv2
import numpy as np

from echozoo.datasets.transforms.base import RandomTransform, beam_coordinates
from echozoo.registry import TRANSFORMS

_LETTERS = np.array(list(string.ascii_letters + 3 * string.digits + " .:/-%"))
_DARK = 6  # grey level up to which a pixel counts as no image


@TRANSFORMS.register_module()
class RandomSector(RandomTransform):
    """Narrow the sector and reduce its depth; what lies outside is black.

    Labels end at the new depth but not at the new flanks: CAMUS's experts drew the wall on beyond
    the sector. The transducer is taken to sit at the middle of the upper border, as in apical
    views: this comes before what turns or shifts the clip.

    Args:
        half_angle: Range of the angle from the sector's axis to each side, in degrees.
        depth: Range of the depth that stays, as a part of the image's height.
        prob: Chance that the transform acts.
    """

    def __init__(
        self,
        half_angle: tuple[float, float] = (28, 45),
        depth: tuple[float, float] = (0.8, 1.1),
        prob: float = 0.5,
    ) -> None:
        super().__init__(prob)
        self.half_angle = half_angle
        self.depth = depth

    def act(self, results: dict, rng: np.random.Generator) -> None:
        """Blacken images outside the new sector, and clear labels below it."""
        depth, angle = beam_coordinates(results)
        left, right = rng.uniform(*self.half_angle, 2)
        below = depth > rng.uniform(*self.depth)
        beside = (angle < -left) | (angle > right)
        for key, outside in (("images", below | beside), ("labels", below)):
            if key in results:
                results[key] = np.where(outside, 0, results[key]).astype(results[key].dtype)


@TRANSFORMS.register_module()
class RandomScreen(RandomTransform):
    """Shrink a clip and put it on a made-up screen of a scanner, the same for all its frames.

    The screen is as wide as the clip, and wider than high in some draws; what is left below it is
    black, as where the longer side is made to fit. The sector covers what is drawn behind it; an
    ECG may run over the sector, and a few words too.

    Args:
        scale: Range of the clip's size as a part of the screen's.
        prob: Chance that the transform acts.
    """

    def __init__(self, scale: tuple[float, float] = (0.5, 1.0), prob: float = 0.5) -> None:
        super().__init__(prob)
        self.scale = scale

    def act(self, results: dict, rng: np.random.Generator) -> None:
        """Move images and labels, and draw the screen around them."""
        size = np.array(results["images"].shape[1:])
        inner = np.maximum((size * rng.uniform(*self.scale)).round().astype(int), 1)
        corner = rng.integers(0, size - inner + 1)
        _shrink(results, inner, corner)
        # Never so low that the screen ends above the clip that it holds.
        ends = min((corner[0] + inner[0]) / size[0], 1.0)
        screen = (max(round(size[0] * rng.uniform(ends, 1.0)), 8), int(size[1]))
        behind, before = _draw_screen(screen, rng)
        images = results["images"][:, : screen[0]]
        covered = _sector(images)
        behind = np.where(covered, 0, behind).astype(images.dtype)
        np.maximum(images, np.maximum(behind, before.astype(images.dtype)), out=images)


def _shrink(results: dict, inner: np.ndarray, corner: np.ndarray) -> None:
    """Resize to (h, w) and put at (y, x) of black clips of the old size."""
    (height, width), (y, x) = inner, corner
    for key, interpolation in (
        ("images", cv2.INTER_AREA),
        ("labels", cv2.INTER_NEAREST_EXACT),
    ):
        if key in results:
            clip = np.zeros_like(results[key])
            for new, frame in zip(clip, results[key], strict=True):
                new[y : y + height, x : x + width] = cv2.resize(
                    frame, (int(width), int(height)), interpolation=interpolation
                )
            results[key] = clip


def _sector(images: np.ndarray) -> np.ndarray:
    """Return where (H, W) the clip (T, H, W) shows image: the convex hull of all that is bright."""
    covered = np.zeros(images.shape[1:], np.uint8)
    points = cv2.findNonZero((images.max(0) > _DARK).astype(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(covered, cv2.convexHull(points), 1)
    return covered.astype(bool)


def _draw_screen(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw what is behind and what is before the sector, two images (H, W) uint8."""
    behind = np.full(size, rng.integers(1, 40) if rng.random() < 0.2 else 0, np.uint8)
    before = np.zeros(size, np.uint8)
    for draw, chance in (
        (_bar_across, 0.3),
        (_colour_bar, 0.6),
        (_depth_marks, 0.5),
        (_logo, 0.3),
        (_text, 0.9),
    ):
        if rng.random() < chance:
            draw(behind, rng)
    if rng.random() < 0.5:
        _ecg(before, rng)
    if rng.random() < 0.2:
        _line_of_text(before, rng)
    return behind, before


def _bar_across(screen: np.ndarray, rng: np.random.Generator) -> None:
    height = int(rng.uniform(0.04, 0.12) * len(screen))
    rows = slice(0, height) if rng.random() < 0.7 else slice(len(screen) - height, None)
    screen[rows] = rng.integers(20, 140)


def _colour_bar(screen: np.ndarray, rng: np.random.Generator) -> None:
    height, width = screen.shape
    tall = int(rng.uniform(0.15, 0.6) * height)
    wide = int(rng.integers(2, 9))
    top = int(rng.uniform(0.02, 0.5) * height)
    left = _beside(width - wide, rng)
    gradient = np.linspace(255, 0, tall).astype(np.uint8)[:, None]
    if rng.random() < 0.2:
        gradient = np.abs(2 * gradient.astype(int) - 255).astype(np.uint8)  # of colour Doppler
    screen[top : top + tall, left : left + wide] = gradient[: height - top]


def _depth_marks(screen: np.ndarray, rng: np.random.Generator) -> None:
    height, width = screen.shape
    left = _beside(width - 4, rng)
    rows = np.linspace(rng.uniform(0, 0.1) * height, height - 1, rng.integers(6, 20)).astype(int)
    for index, row in enumerate(rows):
        screen[row, left : left + (4 if index % 5 == 0 else 2)] = 200


def _logo(screen: np.ndarray, rng: np.random.Generator) -> None:
    height, width = screen.shape
    corner = (_beside(width - 16, rng), int(rng.uniform(0, 0.15) * height))
    end = (corner[0] + int(rng.integers(6, 20)), corner[1] + int(rng.integers(4, 14)))
    level = int(rng.integers(60, 256))
    cv2.rectangle(screen, corner, end, level, -1 if rng.random() < 0.5 else 1)


def _beside(last: int, rng: np.random.Generator) -> int:
    """Draw a column from 0 to ``last`` in the outer fifths, where scanners put what they show."""
    offset = int(rng.uniform(0, 0.2) * last)
    return offset if rng.random() < 0.5 else last - offset


def _text(screen: np.ndarray, rng: np.random.Generator) -> None:
    """Write some blocks of lines, each in one size."""
    height, width = screen.shape
    for _ in range(rng.integers(1, 5)):
        scale, level = rng.uniform(0.18, 0.4), int(rng.integers(80, 256))
        left, top = _beside(int(0.8 * width), rng), rng.uniform(0.02, 0.95) * height
        for line in range(rng.integers(1, 7)):
            place = (left, int(top + line * 28 * scale))
            _write(screen, _words(rng), place, scale, level)


def _line_of_text(screen: np.ndarray, rng: np.random.Generator) -> None:
    place = rng.uniform(0, 0.8, 2) * screen.shape[::-1]
    _write(
        screen, _words(rng), place.astype(int), rng.uniform(0.2, 0.4), int(rng.integers(150, 256))
    )


def _words(rng: np.random.Generator) -> str:
    return "".join(rng.choice(_LETTERS, rng.integers(2, 13)))


def _write(screen: np.ndarray, words: str, place: tuple, scale: float, level: int) -> None:
    place = tuple(map(int, place))
    cv2.putText(screen, words, place, cv2.FONT_HERSHEY_SIMPLEX, scale, level, 1, cv2.LINE_AA)


def _ecg(screen: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a trace near the lower border: a wandering line, a spike and a wave each beat."""
    height, width = screen.shape
    x = np.arange(int(rng.uniform(0, 0.3) * width), int(rng.uniform(0.6, 1.0) * width))
    phase = (x / (rng.uniform(0.1, 0.5) * width) + rng.random()) % 1
    spike = np.maximum(1 - np.abs(phase - 0.3) / rng.uniform(0.02, 0.06), 0)
    wave = 0.25 * np.exp(-(((phase - 0.6) / 0.08) ** 2)) + 0.02 * rng.standard_normal(len(x))
    base = rng.uniform(0.82, 0.96) * height
    y = base - rng.uniform(0.03, 0.12) * height * (spike + wave)
    trace = np.column_stack([x, y]).round().astype(np.int32)
    cv2.polylines(screen, [trace], False, int(rng.integers(100, 256)), 1, cv2.LINE_AA)
