"""Label maps on the grid of their image: put back by their geometry, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from echozoo.errors import DataError
from echozoo.films.geometry import Geometry
from echozoo.films.headers import VolumeHeader, read_volume_header

_NEAR = 0.5  # pixels that a corner may lie off


def on_grid_of(
    image: Path,
    path: Path,
    labels: np.ndarray,
    spacing: tuple[float, float] | None,
    notes: list[str],
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Put label maps so that each pixel is that of the image at the same place in the array.

    The rule, where both files say where they lie (NIfTI, MetaImage):

    - on the same grid, to half a pixel: as they are;
    - on the same grid with rows, columns or frames stored in another order: put back, and noted;
    - of a writer that knows no geometry (spacing 1 mm, or the image's, at the origin, along the
      axes) and of the image's size: taken pixel by pixel, and noted;
    - elsewhere: refused.

    Where one of them does not say, they are taken pixel by pixel. A mask of another size comes
    back as it is: who compares sizes says it better.

    Args:
        image: The file of their image.
        path: Their own file.
        labels: What is in it (T, H, W).
        spacing: Their own spacing (dy, dx) in mm.
        notes: Gets a line where a user should know.

    Returns:
        The labels (T, H, W), and the spacing of the image; their own where the image has none.

    Raises:
        DataError: They lie elsewhere than their image, or a header is damaged.
    """
    mine, theirs = read_volume_header(path), read_volume_header(image)
    if theirs is None or theirs.geometry is None:
        return labels, spacing
    if mine is not None and mine.geometry is not None:
        labels = _put_back(labels, mine.geometry, theirs, (path, image), notes)
    dx, dy = theirs.geometry.spacing[:2]
    return labels, (dy, dx)


def _put_back(
    labels: np.ndarray,
    mine: Geometry,
    image: VolumeHeader,
    names: tuple[Path, Path],
    notes: list[str],
) -> np.ndarray:
    size = image.shape[1:]
    corners = _corners(labels.shape[1:], mine, image.geometry)
    fitting = [turn for turn in _turns() if turn(labels[:1]).shape[1:] == size]
    for turn in fitting:
        if np.abs(turn.corners(size) - corners).max() <= _NEAR:
            backwards = len(labels) > 1 and _is_reversed(mine, image.geometry)
            how = " and ".join(filter(None, (turn.name, "backwards in time" if backwards else "")))
            if how:
                notes.append(f"{names[0]}: stored {how}; put back by its geometry")
            return np.ascontiguousarray(turn(labels[::-1] if backwards else labels))
    if labels.shape[1:] != size:
        return labels
    if _says_nothing(mine, image.geometry):
        notes.append(
            f"{names[0]}: its geometry ({_said(mine)}) is that of a writer without one: taken pixel"
            f" by pixel, with the spacing of {names[1].name}"
        )
        return labels
    raise DataError(
        f"{names[0]}: lies elsewhere than its image ({_said(mine)}), wanted"
        f" {_said(image.geometry)} as {names[1].name}; resample it on the grid of its image"
    )


class _Turn:
    """One of the eight ways to store an image: rows and columns changed, either of them back."""

    def __init__(self, swapped: bool, down: bool, across: bool) -> None:
        self.swapped, self.down, self.across = swapped, down, across
        words = ("rows as columns", swapped), ("upside down", down), ("mirrored", across)
        self.name = " and ".join(word for word, is_so in words if is_so)

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Undo it: (T, h, w) -> (T, H, W)."""
        labels = labels.swapaxes(1, 2) if self.swapped else labels
        return labels[:, :: -1 if self.down else 1, :: -1 if self.across else 1]

    def corners(self, size: tuple[int, int]) -> np.ndarray:
        """Where three stored corners are in the image of size (H, W): as `_corners` has them."""
        height, width = size
        first = (width - 1 if self.across else 0, height - 1 if self.down else 0)
        other = (width - 1 - first[0], height - 1 - first[1])
        along, below = (other[0], first[1]), (first[0], other[1])
        return np.array([first, below, along] if self.swapped else [first, along, below], float)


def _turns() -> Iterator[_Turn]:
    """All of them, first the one that changes nothing."""
    for swapped in (False, True):
        for down in (False, True):
            for across in (False, True):
                yield _Turn(swapped, down, across)


def _corners(stored: tuple[int, int], mine: Geometry, image: Geometry) -> np.ndarray:
    """Where stored corners (0, 0), (w - 1, 0) and (0, h - 1) lie, (3, 2) pixels (x, y) of an image.

    Across the image's plane nothing is compared: a single frame may be anywhere in its film.
    """
    steps, origin = mine.axes()
    image_steps, image_origin = image.axes()
    height, width = stored
    ends = np.array([(0, 0), (width - 1, 0), (0, height - 1)], float)  # (3, 2)
    places = ends @ steps.T + origin - image_origin  # (3, 3) mm
    return places @ np.linalg.pinv(image_steps).T


def _is_reversed(mine: Geometry, image: Geometry) -> bool:
    """Whether the third axes, that of time in a film, point against each other."""
    if len(mine.spacing) < 3 or len(image.spacing) < 3:
        return False
    ways = [np.reshape(one.direction, (3, 3))[:, 2] for one in (mine, image)]
    return bool(ways[0] @ ways[1] < -0.5)


def _says_nothing(mine: Geometry, image: Geometry) -> bool:
    """Whether a geometry is what is written where none is known, or where only spacing is."""
    n = len(mine.spacing)
    along_axes = np.allclose(np.abs(np.reshape(mine.direction, (n, n))[:2, :2]), np.eye(2))
    same = n == len(image.spacing) and np.allclose(mine.direction, image.direction, atol=1e-3)
    steps = np.array(mine.spacing[:2])
    neutral = np.allclose(steps, 1)
    at_origin = not np.any(mine.origin[:2])
    as_image = same and np.allclose(mine.origin[:2], image.origin[:2], atol=1e-3)
    if neutral:
        return (along_axes and at_origin) or as_image
    return along_axes and at_origin and np.allclose(steps, image.spacing[:2], rtol=1e-3)


def _said(geometry: Geometry) -> str:
    def told(values: tuple[float, ...]) -> str:
        return " ".join(f"{value:.4g}" for value in values)

    return (
        f"spacing {told(geometry.spacing)} mm, origin {told(geometry.origin)}, direction"
        f" {told(geometry.direction)}"
    )
