"""A grid of clips as the network gets them: a row a clip, a column a frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from echozoo.datasets.anatomy import choose_structures, palette
from echozoo.structures import EchoDataSample
from echozoo.visualization.overlay import draw_boxes, draw_points, overlay, resize_labels

_PAPER, _INK, _FAINT = (18, 18, 20), (235, 235, 235), (170, 170, 175)
_GAP, _CAPTION, _LEGEND = 6, 28, 34


def clip_grid(clips: Sequence[tuple[Tensor, EchoDataSample]], height: int = 256) -> np.ndarray:
    """Draw clips with their masks, points and boxes.

    Args:
        clips: Pairs of inputs (T, 1, H, W), 0 to 255, and their samples; T may differ.
        height: Height of a frame in the picture, in pixels.

    Returns:
        Picture (H', W', 3) uint8, RGB.
    """
    rows = [
        [_frame(inputs[t, 0].numpy(), sample, t, height) for t in range(len(inputs))]
        for inputs, sample in clips
    ]
    widths = [sum(frame.shape[1] + _GAP for frame in row) for row in rows]
    canvas = Image.new(
        "RGB", (max(widths) + _GAP, len(rows) * (_CAPTION + height) + _LEGEND), _PAPER
    )
    draw = ImageDraw.Draw(canvas)
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    top = 0
    for row, (_, sample) in zip(rows, clips, strict=True):
        words = [sample.patient, sample.view, sample.get("quality")]
        draw.text((_GAP, top + 6), " · ".join(filter(None, words)), _INK, font)
        left, top = _GAP, top + _CAPTION
        for frame, index, instant in zip(row, sample.frames, sample.instants, strict=True):
            canvas.paste(Image.fromarray(frame), (left, top))
            place = " · ".join(filter(None, [f"frame {index}", instant]))
            draw.text((left + 5, top + 4), place, _FAINT, small)
            left += frame.shape[1] + _GAP
        top += height
    left = _GAP
    for structure in choose_structures(clips[0][1].structures):
        middle = top + _LEGEND / 2
        draw.ellipse((left, middle - 5, left + 10, middle + 5), structure.colour)
        draw.text((left + 16, middle), structure.short.upper(), _INK, font, anchor="lm")
        left += 75
    return np.asarray(canvas)


def _frame(image: np.ndarray, sample: EchoDataSample, t: int, height: int) -> np.ndarray:
    scale = height / image.shape[0]
    size = height, round(image.shape[1] * scale)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    gray = cv2.resize(image, size[::-1], interpolation=interpolation)
    colours = palette(sample.structures)
    labels = sample.get("gt_labels")
    labels = None if labels is None else resize_labels(labels[t].numpy(), size)
    picture = overlay(gray, labels, colours)
    # Pixel centres are whole numbers, so coordinates scale about a pixel's corner.
    if "boxes" in sample:
        draw_boxes(picture, (sample.boxes[t].numpy() + 0.5) * scale - 0.5, colours)
    if "points" in sample:
        points = (sample.points[t].numpy() + 0.5) * scale - 0.5
        draw_points(picture, points, sample.point_labels[t].numpy(), colours)
    return picture
