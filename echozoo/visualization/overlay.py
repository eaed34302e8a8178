"""Masks, points and boxes drawn over a gray image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from echozoo.datasets.anatomy import palette

Colour = tuple[int, int, int]

_BACKGROUND_POINT = (255, 255, 255)


def overlay(
    image: np.ndarray,
    labels: np.ndarray | None = None,
    colours: Sequence[Colour] | None = None,
    fill: float = 0.2,
) -> np.ndarray:
    """Draw a label map over an image: a translucent fill and a smooth outline a structure.

    Args:
        image: Gray levels (H, W) from 0 to 255, uint8 or float.
        labels: Label map (H, W), or None for the gray image alone. Labels that are absent draw
            nothing.
        colours: RGB of labels 1, 2, …; those of the anatomy where None.
        fill: Opacity of the fill.

    Returns:
        Picture (H, W, 3) uint8, RGB.
    """
    gray = np.clip(image, 0, 255).astype(np.uint8)
    picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    if labels is None:
        return picture
    masks = [
        (labels == label, colour)
        for label, colour in enumerate(colours or palette(), start=1)
        if (labels == label).any()
    ]
    for mask, colour in masks:
        blend = (1 - fill) * picture[mask] + fill * np.array(colour)
        picture[mask] = blend.round().astype(np.uint8)
    # Outlines last, so that no fill of a neighbour covers them; where two meet, the cavity's stays.
    thickness = _stroke(picture)
    for mask, colour in reversed(masks):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.polylines(picture, outlines, True, colour, thickness, cv2.LINE_AA)
    return picture


def draw_points(
    picture: np.ndarray,
    points: np.ndarray,
    point_labels: np.ndarray,
    colours: Sequence[Colour] | None = None,
) -> None:
    """Draw the prompts of every structure into a picture: discs, and crosses for background.

    Args:
        picture: Picture (H, W, 3) uint8, changed in place.
        points: Points (K, P, 2), (x, y) in pixels of the picture.
        point_labels: (K, P): 1 foreground, 0 background, -1 padding (not drawn).
        colours: RGB a structure; those of the anatomy where None.
    """
    radius = 3 * _stroke(picture)
    for row, labels, colour in zip(points, point_labels, colours or palette(), strict=False):
        for (x, y), label in zip(np.rint(row).astype(int).tolist(), labels, strict=True):
            if label == 1:
                cv2.circle(picture, (x, y), radius + 1, (255, 255, 255), -1, cv2.LINE_AA)
                cv2.circle(picture, (x, y), radius, colour, -1, cv2.LINE_AA)
            elif label == 0:
                for marker_colour, thickness in ((_BACKGROUND_POINT, 3), (colour, 1)):
                    cv2.drawMarker(
                        picture,
                        (x, y),
                        marker_colour,
                        cv2.MARKER_TILTED_CROSS,
                        2 * radius + 1,
                        thickness,
                        cv2.LINE_AA,
                    )


def draw_boxes(
    picture: np.ndarray, boxes: np.ndarray, colours: Sequence[Colour] | None = None
) -> None:
    """Draw a box a structure into a picture.

    Args:
        picture: Picture (H, W, 3) uint8, changed in place.
        boxes: Boxes (K, 4), (x1, y1, x2, y2) in pixels of the picture.
        colours: RGB a structure; those of the anatomy where None.
    """
    corners = np.rint(boxes).astype(int).tolist()
    for (x1, y1, x2, y2), colour in zip(corners, colours or palette(), strict=False):
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, _stroke(picture))


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map with smooth borders, for pictures only: never measure on it.

    Args:
        labels: Label map (H, W) uint8.
        size: New size (H, W).

    Returns:
        Label map of the new size; each pixel has the label that covers most of it.
    """
    present = np.unique(labels)
    cover = [
        cv2.resize((labels == label).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
        for label in present
    ]
    return present[np.argmax(cover, axis=0)]


def _stroke(picture: np.ndarray) -> int:
    """Return the width of a thin line that stays visible at a picture's size."""
    return max(1, round(min(picture.shape[:2]) / 200))
