"""Loading a clip at the size of the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.checks import (
    check_labels,
    check_length,
    check_mask_size,
    check_one_grid,
)
from echozoo.datasets.films import FrameFiles
from echozoo.datasets.transforms.geometry import ResizeClip
from echozoo.datasets.transforms.loading import LoadClip, put_labels
from echozoo.films.cache import cached_array, cached_volume
from echozoo.registry import TRANSFORMS

FACTS = ("spacing", "native_size", "valid_size")


@TRANSFORMS.register_module()
class LoadResizedClip(BaseTransform):
    """`LoadClip` and `ResizeClip` in one step, for training: the cache holds the resized frames.

    A frame is resized once, not once an epoch, and less is read of it. In test mode, where the
    native masks are wanted too, it is the two steps.

    Args:
        size: As in `ResizeClip`.
        keep_aspect: As in `ResizeClip`.
    """

    def __init__(self, size: tuple[int, int] | None = None, keep_aspect: bool = False) -> None:
        self.load = LoadClip()
        self.resize = ResizeClip(size, keep_aspect)

    def transform(self, results: dict) -> dict:
        """Load one clip; what is added is what the two steps add.

        Raises:
            ConfigError: As `ResizeClip`.
            DataError: As `LoadClip`.
        """
        if results["test_mode"]:
            return self.resize(self.load(results))
        frame_files: Sequence[FrameFiles] = results["frame_files"]
        images = dict.fromkeys(files.image for files in frame_files)
        clips = {image: self._resized(image, None, results) for image in images}
        results["native_size"], results["spacing"] = check_one_grid(
            {image: (facts["native_size"], facts["spacing"]) for image, (_, facts) in clips.items()}
        )
        for files in frame_files:
            check_length(files.image, len(clips[files.image][0]), files.index + 1)
        results["images"] = np.stack(
            [clips[files.image][0][files.index] for files in frame_files]
        )  # (T, H, W)
        masks = {files.label: files for files in frame_files if files.label}
        masks = {label: self._resized(f.image, f, results)[0] for label, f in masks.items()}
        put_labels(results, [f.label and masks[f.label][f.index_in_label] for f in frame_files])
        results["input_size"] = results["images"].shape[1:]
        results["valid_size"] = tuple(clips[frame_files[0].image][1]["valid_size"])
        return results

    def _resized(
        self, image: str, mask: FrameFiles | None, results: dict
    ) -> tuple[np.ndarray, dict]:
        """All frames of an image, or of a frame's mask, (T, H, W), and the image's geometry."""
        cache_dir, key = Path(results["cache_dir"]), "labels" if mask else "images"

        def make() -> tuple[np.ndarray, dict]:
            frames = cached_volume(image, cache_dir)
            clip = {
                "images": frames.array,
                "spacing": frames.spacing,
                "native_size": frames.array.shape[1:],
                "image_size": results["image_size"],
            }
            if mask:
                labels = cached_volume(mask.label, cache_dir, label=True, image=image).array
                check_mask_size(image, frames.array, mask.label, labels, mask.aligned)
                check_labels(mask.label, labels, results["label_values"])
                clip |= {"images": frames.array[:1], "labels": labels}
            clip = self.resize(clip)
            return clip[key], {name: clip[name] for name in FACTS}

        kind = "{}-{}x{}".format(key, *self.resize.target_size(results))
        kind += "-fit" if self.resize.keep_aspect else ""
        sources = (Path(image), Path(mask.label)) if mask else (Path(image),)
        array, facts = cached_array(sources, cache_dir, kind, make)
        return array, {name: facts[name] and tuple(facts[name]) for name in FACTS}
