"""Prompts from masks: points, boxes and coarse masks, one set for every structure and frame.

They are made last, from the labels as the other transforms left them. Points are (x, y), in
pixels of the network's input; pixel centres have whole coordinates. Where a structure of a frame
is not labelled, its prompt says nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.transforms.base import labelled, valid_size
from echozoo.errors import ConfigError, DataError
from echozoo.registry import TRANSFORMS

FOREGROUND, BACKGROUND, PADDING = 1, 0, -1


def _masks(results: dict, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of all structures, on the top left part of that size, and which are there.

    Returns:
        (T, K, h, w) bool, and (T, K) bool, False where a structure of a frame is not labelled.

    Raises:
        DataError: The clip has no masks.
    """
    if "labels" not in results:
        raise DataError(
            f"{results['sequence']}: frames without a mask, wanted one for each, as prompts are"
            " made from masks; leave such frames out, or test a model that needs no prompts"
        )
    height, width = size
    labels = results["labels"][:, None, :height, :width]  # (T, 1, h, w)
    values = np.arange(1, len(results["structures"]) + 1)
    return labels == values[:, None, None], labelled(results)


# Each rule takes a mask (h, w) with at least one pixel and returns num (x, y) of its pixels.


def _pixels(mask: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return (x, y) of the chosen elements of the row-major list of a mask's pixels."""
    rows, columns = np.divmod(np.flatnonzero(mask)[chosen], mask.shape[1])
    return np.stack([columns, rows], axis=-1)


def _random(mask: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    count = np.count_nonzero(mask)
    # A structure of fewer pixels than points has some of them drawn twice.
    return _pixels(mask, rng.choice(count, num, replace=count < num))


def _raster_middle(mask: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    return _pixels(mask, np.count_nonzero(mask) * np.arange(1, num + 1) // (num + 1))


def _centroid(mask: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    points = _pixels(mask, np.arange(np.count_nonzero(mask)))
    distances = np.square(points - points.mean(axis=0)).sum(axis=-1)
    return points[[distances.argmin()]]


def _farthest_from_edge(mask: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    # The border of the image is an edge too, and so is each point already taken.
    inside = np.pad(mask.astype(np.uint8), 1)
    points = []
    for _ in range(num):
        distances = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        y, x = np.unravel_index(distances.argmax(), distances.shape)
        points.append((max(x - 1, 0), max(y - 1, 0)))
        inside[y, x] = 0
    return np.array(points)


_RULES: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "random": _random,
    "raster_middle": _raster_middle,
    "centroid": _centroid,
    "farthest_from_edge": _farthest_from_edge,
}


@TRANSFORMS.register_module()
class PointPrompts(BaseTransform):
    """Points on every structure in every frame: ``points`` and ``point_labels``.

    A structure that is absent from a frame gets points of the background, labelled as such, as
    in published SAMUS: random ones with the rule "random", else the middle of the raster. Where
    there is no such pixel at all, or no label, points are padding (label -1).

    Args:
        rule: Where foreground points lie. "random": drawn uniformly from the structure
            (published SAMUS, training). "raster_middle": element ``len // 2`` of its pixels in
            row-major order (published SAMUS, testing); several points divide the list evenly.
            "centroid": its pixel nearest to the centre of mass, a single point.
            "farthest_from_edge": the maximum of its distance transform, by which several points
            keep away from each other too.
        num_points: Foreground points of a structure.
        num_background: Background points of a structure, drawn at random with the rule "random",
            else evenly spaced in the raster.

    Raises:
        ConfigError: The rule is unknown, or cannot give so many points.
    """

    def __init__(self, rule: str = "random", num_points: int = 1, num_background: int = 0) -> None:
        if rule not in _RULES:
            raise ConfigError(f"PointPrompts: rule is {rule!r}, choose one of {list(_RULES)}")
        if rule == "centroid" and num_points != 1:
            raise ConfigError(
                f"PointPrompts: num_points is {num_points}, but a structure has one centroid;"
                " use 1 or another rule"
            )
        self.foreground_rule = _RULES[rule]
        self.background_rule = _random if rule == "random" else _raster_middle
        self.num_points = num_points
        self.num_background = num_background

    def transform(self, results: dict) -> dict:
        """Add ``points`` (T, K, P, 2) float32 and ``point_labels`` (T, K, P) int64."""
        masks, there = _masks(results, valid_size(results))
        shape = (*masks.shape[:2], self.num_points + self.num_background)
        points = np.zeros((*shape, 2), np.float32)
        labels = np.full(shape, PADDING, np.int64)
        for index in zip(*np.nonzero(there), strict=True):
            self._place(masks[index], points[index], labels[index], results["rng"])
        results["points"] = points
        results["point_labels"] = labels
        return results

    def _place(
        self, mask: np.ndarray, points: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> None:
        wanted = 0
        if mask.any():
            wanted = self.num_points
            points[:wanted] = self.foreground_rule(mask, wanted, rng)
            labels[:wanted] = FOREGROUND
        rest = len(points) - wanted
        if rest and not mask.all():
            points[wanted:] = self.background_rule(~mask, rest, rng)
            labels[wanted:] = BACKGROUND


@TRANSFORMS.register_module()
class BoxPrompts(BaseTransform):
    """A tight box around every structure in every frame: ``boxes``.

    Corners are centres of the outermost pixels. For a structure that is absent from a frame the
    box is the whole image: it may be anywhere in it, or nowhere. Where a structure is not labelled
    the box is empty, (0, 0, 0, 0).

    Args:
        jitter: Centre and size of a box change by up to this part of its size (published SAMUS,
            training: 0.05). The box stays inside the image.
        outward: Each side moves outwards by up to this many pixels (MedSAM, training: 20 of 1024).
    """

    def __init__(self, jitter: float = 0.0, outward: int = 0) -> None:
        self.jitter, self.outward = jitter, outward

    def transform(self, results: dict) -> dict:
        """Add ``boxes`` (T, K, 4) float32: (x1, y1, x2, y2)."""
        masks, there = _masks(results, valid_size(results))
        height, width = masks.shape[2:]
        last = np.array([width - 1, height - 1] * 2)
        boxes = np.zeros((*masks.shape[:2], 4), np.float32)
        for index in zip(*np.nonzero(there), strict=True):
            rows = np.flatnonzero(masks[index].any(axis=1))
            columns = np.flatnonzero(masks[index].any(axis=0))
            if rows.size:
                box = np.array([columns[0], rows[0], columns[-1], rows[-1]])
                boxes[index] = self._jitter(box, results["rng"]).clip(0, last)
            else:
                boxes[index] = 0, 0, width - 1, height - 1
        results["boxes"] = boxes
        return results

    def _jitter(self, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.outward:
            box = box + rng.integers(0, self.outward, 4, endpoint=True) * (-1, -1, 1, 1)
        if not self.jitter:
            return box
        start, stop = box.reshape(2, 2)  # corners, x and y
        shift, growth = rng.uniform(-self.jitter, self.jitter, (2, 2)) * (stop - start)
        return np.concatenate([start + shift - growth / 2, stop + shift + growth / 2])


@TRANSFORMS.register_module()
class MaskPrompts(BaseTransform):
    """A coarse mask of every structure in every frame, as logits: ``mask_prompts``.

    A pixel's logit is linear in the part of it that the structure covers, so an absent structure
    is the same negative number everywhere, and one that is not labelled 0.

    Args:
        size: Size (h, w) of the coarse masks: 4 times the size of the image embedding.
        logit: Logit of a pixel that lies inside; the negative of it is outside.
    """

    def __init__(self, size: tuple[int, int], logit: float = 10.0) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.logit = logit

    def transform(self, results: dict) -> dict:
        """Add ``mask_prompts`` (T, K, h, w) float32."""
        # The whole input, padding included: the coarse mask lies over all of the embedding.
        masks, there = _masks(results, results["images"].shape[1:])
        cover = np.full((*masks.shape[:2], *self.size), 0.5, np.float32)
        for index in zip(*np.nonzero(there), strict=True):
            cover[index] = cv2.resize(
                masks[index].astype(np.float32), self.size[::-1], interpolation=cv2.INTER_AREA
            )
        results["mask_prompts"] = self.logit * (2 * cover - 1)
        return results
