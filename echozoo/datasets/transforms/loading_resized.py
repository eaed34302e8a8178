"""Loading a clip at the size of the network's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.checks import check_labels, check_one_grid, check_same_size
from echozoo.datasets.transforms.geometry import ResizeClip
from echozoo.datasets.transforms.loading import LoadClip, choose_labels
from echozoo.films.cache import cached_array, cached_volume
from echozoo.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadResizedClip(BaseTransform):
    """`LoadClip` and `ResizeClip` in one step, for training: the cache holds the resized frames.

    A frame is resized once, not once an epoch, and less is read of it. In test mode, where the
    native masks are wanted too, and for frames without masks it is the two steps.

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
        frame_files = results["frame_files"]
        if results["test_mode"] or not all(label for _, label, _ in frame_files):
            return self.resize(self.load(results))
        masks = {image: label for image, label, _ in frame_files}
        clips = {image: self._resized(image, label, results) for image, label in masks.items()}
        results["native_size"], results["spacing"] = check_one_grid(
            {
                image: (tuple(facts["native_size"]), tuple(facts["spacing"]))
                for image, (_, facts) in clips.items()
            }
        )
        results["images"], labels = np.stack(
            [clips[image][0][:, index] for image, _, index in frame_files], axis=1
        )  # (T, H, W) each
        results["labels"] = choose_labels(labels, results["structures"])
        _, facts = clips[frame_files[0][0]]
        results["input_size"] = labels.shape[1:]
        results["valid_size"] = tuple(facts["valid_size"])
        return results

    def _resized(self, image: str, label: str, results: dict) -> tuple[np.ndarray, dict]:
        """All frames of a file and their masks (2, T, H, W), and their geometry."""
        cache_dir = Path(results["cache_dir"])

        def make() -> tuple[np.ndarray, dict]:
            frames = cached_volume(image, cache_dir)
            masks = cached_volume(label, cache_dir, label=True)
            check_same_size(image, frames.array, label, masks.array)
            check_labels(label, masks.array)
            clip = self.resize(
                {
                    "images": frames.array,
                    "labels": masks.array,
                    "spacing": frames.spacing,
                    "native_size": frames.array.shape[1:],
                    "image_size": results["image_size"],
                }
            )
            facts = {key: clip[key] for key in ("spacing", "native_size", "valid_size")}
            return np.stack([clip["images"], clip["labels"]]), facts

        kind = "{}x{}".format(*self.resize.target_size(results))
        kind += "-fit" if self.resize.keep_aspect else ""
        return cached_array((Path(image), Path(label)), cache_dir, kind, make)
