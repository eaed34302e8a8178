"""Films as a scanner exports them: a sector somewhere on a screen with text, an ECG and bars."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

Box = tuple[int, int, int, int]


def fan(frames: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A sector (T, H, W) uint8 that fills its frames: speckle in 90 degrees, a beating chamber."""
    rows, columns = np.indices(size)
    height, width = size
    across = (columns - width / 2) / (width / 2)
    down = rows / height
    inside = (np.abs(across) <= down * 1.35) & (np.hypot(across / 1.35, down) <= 1.0)
    rng = np.random.default_rng(seed)
    film = rng.gamma(2.0, 25, (frames, *size)).clip(8, 255)
    for t, frame in enumerate(film):
        beat = 1 + 0.25 * np.cos(2 * np.pi * t / max(frames, 2))
        chamber = np.hypot(across / (0.3 * beat), (down - 0.55) / 0.28) < 1
        frame[chamber] *= 0.2
    return np.where(inside, film, 0).astype(np.uint8)


def on_screen(
    images: np.ndarray, size: tuple[int, int], scale: float, seed: int = 0
) -> tuple[np.ndarray, Box]:
    """Put images (T, h, w) on a screen (H, W), at a scale of its height.

    Returns:
        The film (T, H, W) and the box (top, left, bottom, right) of the images in it.
    """
    rng = np.random.default_rng(seed)
    height = round(scale * size[0])
    width = round(height * images.shape[2] / images.shape[1])
    top, left = (
        int(rng.integers(8, whole - part - 8))
        for whole, part in zip(size, (height, width), strict=True)
    )
    screen = np.zeros((len(images), *size), np.uint8)
    for frame, image in zip(screen, images, strict=True):
        frame[top : top + height, left : left + width] = cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA
        )
    drawn = _drawn(size, rng)
    behind = screen.max(0) == 0
    return np.where(behind, drawn, screen), (top, left, top + height, left + width)


def _drawn(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    height, width = size
    screen = np.zeros(size, np.uint8)
    screen[: height // 30] = 60
    screen[height // 4 : height // 2, width - 12 : width - 6] = np.linspace(
        255, 0, height // 2 - height // 4
    )[:, None]
    for line in range(5):
        cv2.putText(screen, "NAME OF A PATIENT", (6, 40 + 16 * line), 0, 0.4, 220, 1, cv2.LINE_AA)
    x = np.arange(0, width, 4)
    y = height - 20 - 14 * (x // 4 % 20 == 3) + rng.integers(0, 2, len(x))
    cv2.polylines(screen, [np.column_stack([x, y]).astype(np.int32)], False, 180, 1, cv2.LINE_AA)
    return screen


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    edges = np.array([one, other])
    top, left = edges[:, :2].max(0)
    bottom, right = edges[:, 2:].min(0)
    shared = max(bottom - top, 0) * max(right - left, 0)
    sizes = (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])
    return shared / (sizes.sum() - shared)


def real_stills(shared: Path, patients: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four-chamber stills of CAMUS at end diastole (1, H, W), and their masks."""
    from echozoo.films.io import read_volume

    folders = sorted((shared / "data/camus_mini/database_nifti").iterdir())[:patients]
    names = [str(folder / f"{folder.name}_4CH_ED") for folder in folders]
    return [
        (read_volume(f"{name}.nii.gz").array, read_volume(f"{name}_gt.nii.gz", label=True).array)
        for name in names
    ]
