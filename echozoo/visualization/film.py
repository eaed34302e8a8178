"""Films: reference and prediction side by side, with captions, as an animated GIF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from echozoo.datasets.anatomy import choose_structures, palette
from echozoo.evaluation.functional.overlap import dice
from echozoo.visualization.overlay import overlay, resize_labels

_PAPER, _INK, _FAINT = (18, 18, 20), (235, 235, 235), (150, 150, 155)
_MARGIN, _BAR = 12, 34


def display_size(
    native_size: tuple[int, int], spacing: tuple[float, float] | None, height: int = 360
) -> tuple[int, int]:
    """Return the size (H, W) at which a native grid is shown: the anatomy in its true proportions.

    Args:
        native_size: Size (H, W) of the native grid.
        spacing: (dy, dx) in mm a pixel; pixels are taken for square where it is None.
        height: Height of the picture. A grid wider than 3:2 is bounded by its width instead.
    """
    dy, dx = spacing or (1.0, 1.0)
    aspect = native_size[1] * dx / (native_size[0] * dy)
    width = min(height * aspect, height * 1.5)
    return round(width / aspect), round(width)


def comparison(
    image: np.ndarray,
    reference: np.ndarray,
    prediction: np.ndarray,
    structures: Sequence[str],
    size: tuple[int, int],
    title: str,
    place: str,
    counted: Sequence[bool] | None = None,
) -> np.ndarray:
    """Compose a picture of one frame: reference on the left, prediction on the right.

    Args:
        image: Gray levels (h, w) from 0 to 255, of any resolution.
        reference: Label map (H0, W0).
        prediction: Label map (H0, W0); its Dice with the reference stands below it.
        structures: Short names of labels 1, 2, ….
        size: Size (H, W) of either panel.
        title: Caption on the left: patient and view.
        place: Caption on the right: frame and instant.
        counted: Which of the structures are measured; None is all.

    Returns:
        Picture (H', W', 3) uint8, RGB.
    """
    gray = cv2.resize(
        np.clip(image, 0, 255).astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC
    )
    colours = palette(structures)
    panels = [
        overlay(gray, resize_labels(labels, size), colours) for labels in (reference, prediction)
    ]
    height, width = size
    canvas = Image.new("RGB", (2 * width + 3 * _MARGIN, height + 2 * _BAR), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    small = ImageFont.load_default(13)
    for left, panel, name in zip(
        (_MARGIN, width + 2 * _MARGIN), panels, ("reference", "prediction"), strict=True
    ):
        canvas.paste(Image.fromarray(panel), (left, _BAR))
        draw.text((left + 6, _BAR + 6), name, _FAINT, small)
    draw.text((_MARGIN, _BAR / 2), title, _INK, font, anchor="lm")
    draw.text((canvas.width - _MARGIN, _BAR / 2), place, _INK, font, anchor="rm")
    baseline = canvas.height - _BAR / 2
    draw.text((_MARGIN, baseline), "Dice", _FAINT, small, anchor="lm")
    left = _MARGIN + 44
    for label, structure in enumerate(choose_structures(structures), start=1):
        score = "not counted"
        if counted is None or counted[label - 1]:
            score = _score(prediction == label, reference == label)
        text = f"{structure.short.upper()}  {score}"
        draw.ellipse((left, baseline - 5, left + 10, baseline + 5), structure.colour)
        draw.text((left + 17, baseline), text, _INK, font, anchor="lm")
        left += 17 + draw.textlength(text, font) + 24
    return np.asarray(canvas)


def _score(prediction: np.ndarray, reference: np.ndarray) -> str:
    if not reference.any():
        return "absent"
    score = dice(prediction, reference)
    return "not found" if math.isnan(score) else f"{score:.3f}"


def write_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float = 8) -> None:
    """Write an animated GIF that repeats for ever.

    Args:
        path: The file to write.
        frames: Pictures (H, W, 3) uint8, RGB, of one size.
        fps: Frames a second.
    """
    # One palette for all frames: with one each, gray levels would flicker.
    probes = [frames[i] for i in {0, len(frames) // 2, len(frames) - 1}]
    palette_image = Image.fromarray(np.concatenate(probes)).quantize(
        colors=96, method=Image.Quantize.FASTOCTREE
    )
    pictures = [
        Image.fromarray(frame).quantize(palette=palette_image, dither=Image.Dither.NONE)
        for frame in frames
    ]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
        optimize=False,
    )
