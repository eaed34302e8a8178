"""Boxes of any detector as prompts: from a file that it has written, or by calling it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.transforms.base import valid_size
from echozoo.errors import ConfigError, DataError
from echozoo.registry import TRANSFORMS

FORM = '{"patient0001_4CH": {"0": {"lv": [[x1, y1, x2, y2], ...], ...}, ...}, ...}'
Boxes = Mapping[str, Sequence[Sequence[float]]]  # of a frame, by structure


@TRANSFORMS.register_module()
class BoxPrompter(BaseTransform):
    """Boxes around each structure in each frame, as a detector found them: ``detected_boxes``.

    Corners are (x1, y1, x2, y2), pixel centres have whole coordinates. A structure may have several
    boxes, the best first, or none: then it is not there.

    Args:
        source: A JSON file with the boxes of each sequence, frame (from 0) and structure, in pixels
            of the image files, for pipelines that only resize; or a detector, a function or its
            name as ``"module:function"``. It is called with the frames (T, h, w) uint8 as the
            network gets them, without padding, and the names of the structures, and returns for
            each frame the boxes of each structure, in pixels of these.
        num_boxes: S, how many boxes of a structure are taken.

    Raises:
        ConfigError: The function cannot be imported.
    """

    def __init__(self, source: str | Path | Callable | None = None, num_boxes: int = 4) -> None:
        self.source, self.num_boxes = source, num_boxes
        self.detect: Callable | None = source if callable(source) else None
        if isinstance(source, str) and ":" in source and not Path(source).exists():
            self.detect = _function(source)
        self._content: Mapping | None = None  # of the file, once it is read

    def transform(self, results: dict) -> dict:
        """Add ``detected_boxes`` (T, K, S, 4) float32 to ``extra_prompts``, NaN for no box.

        Raises:
            ConfigError: No source is given, or the file is not of the form.
            DataError: The source says nothing of a frame, or a box has no four numbers.
        """
        height, width = valid_size(results)
        if self.detect is not None:
            frames = np.ascontiguousarray(results["images"][:, :height, :width])
            found = self.detect(frames, tuple(results["structures"]))
            scale = np.ones(4)
        else:
            found = [self._of_file(results["sequence"], frame) for frame in results["frames"]]
            native = results["native_size"]
            scale = np.array([width / native[1], height / native[0]] * 2)
        if len(found) != len(results["images"]):
            raise DataError(
                f"{results['sequence']}: found boxes of {len(found)} frames, wants "
                f"{len(results['images'])}, one entry for each frame of the clip"
            )
        boxes = np.full((len(found), len(results["structures"]), self.num_boxes, 4), np.nan)
        for of_frame, given in zip(boxes, found, strict=True):
            for place, name in zip(of_frame, results["structures"], strict=True):
                some = _checked(given.get(name, ()), results["sequence"], name)[: self.num_boxes]
                place[: len(some)] = (some + 0.5) * scale - 0.5
        results.setdefault("extra_prompts", {})["detected_boxes"] = boxes.astype(np.float32)
        return results

    def _of_file(self, sequence: str, frame: int) -> Boxes:
        if self._content is None:
            self._content = _read(self.source)
        frames = self._content.get(sequence)
        boxes = frames.get(str(frame)) if isinstance(frames, Mapping) else None
        if not isinstance(boxes, Mapping):
            raise DataError(
                f"{self.source}: found nothing of frame {frame} of {sequence}, wants its boxes, or "
                f"{{}} where nothing was detected: {FORM}"
            )
        return boxes


def _read(source: str | Path | None) -> Mapping:
    if source is None:
        raise ConfigError(
            "BoxPrompter: found no source, wants a file of boxes or a detector; set source=... of "
            "it in the pipeline"
        )
    try:
        content = json.loads(Path(source).read_text())
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror}), wants {FORM}") from error
    except ValueError as error:
        raise ConfigError(f"{source}: found no JSON ({error}), wants {FORM}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{source}: found a {type(content).__name__}, wants {FORM}")
    return content


def _checked(boxes: object, sequence: str, name: str) -> np.ndarray:
    """Boxes (n, 4) of one structure; a single box may stand for a list of one."""
    try:
        array = np.asarray(boxes, np.float64)
        array = array.reshape(-1, 4) if array.size else np.zeros((0, 4))
    except (TypeError, ValueError):
        array = np.full((1, 4), np.nan)
    if not np.isfinite(array).all() or (array[:, 2:] < array[:, :2]).any():
        raise DataError(
            f"{sequence}: found the boxes {str(boxes)[:80]} of {name}, wants a list of "
            "(x1, y1, x2, y2) with x1 <= x2 and y1 <= y2; change them"
        )
    return array


def _function(name: str) -> Callable:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"BoxPrompter: found source={name!r}, which cannot be imported ({error}), wants a file "
            "or module:function"
        ) from error
