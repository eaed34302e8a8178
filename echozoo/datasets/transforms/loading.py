"""Loading the frames of a clip."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.anatomy import Structure, label_table
from echozoo.datasets.checks import check_labels, check_one_grid, check_same_size
from echozoo.films.cache import cached_volume
from echozoo.films.io import Volume
from echozoo.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadClip(BaseTransform):
    """Read the frames that ``frame_files`` names, through the cache, and their masks.

    Adds ``images`` (T, H, W) uint8, ``spacing`` (dy, dx) mm and ``native_size`` (H, W); where
    all frames have a mask, ``labels`` (T, H, W) uint8 with the chosen structures counted from 1;
    in test mode also ``native_labels``, a copy of them that no transform touches.
    """

    def transform(self, results: dict) -> dict:
        """Load one clip.

        Raises:
            DataError: A file cannot be read; an image and its mask, or the frames of the clip,
                differ in size or spacing; a mask has a label that is none.
        """
        frame_files, cache_dir = results["frame_files"], results["cache_dir"]
        images = dict.fromkeys(image for image, _, _ in frame_files)  # a film is one file
        volumes = {image: cached_volume(image, cache_dir) for image in images}
        results["native_size"], results["spacing"] = check_one_grid(
            {image: (volume.array.shape[1:], volume.spacing) for image, volume in volumes.items()}
        )
        results["images"] = np.stack(
            [volumes[image].array[index] for image, _, index in frame_files]
        )  # (T, H, W)
        if all(label for _, label, _ in frame_files):
            results["labels"] = self._load_labels(volumes, results)
            if results["test_mode"]:
                results["native_labels"] = results["labels"].copy()
        return results

    @staticmethod
    def _load_labels(volumes: dict[str, Volume], results: dict) -> np.ndarray:
        frame_files = results["frame_files"]
        masks = {}
        for image, label in {image: label for image, label, _ in frame_files}.items():
            masks[label] = cached_volume(label, results["cache_dir"], label=True).array
            check_same_size(image, volumes[image].array, label, masks[label])
        labels = np.stack([masks[label][index] for _, label, index in frame_files])  # (T, H, W)
        for (_, label, _), frame in zip(frame_files, labels, strict=True):
            check_labels(label, frame)
        return choose_labels(labels, results["structures"])


def choose_labels(labels: np.ndarray, structures: tuple[str, ...]) -> np.ndarray:
    """Count the chosen structures of CAMUS's labels (T, H, W) uint8 from 1; others become 0."""
    table = np.zeros(256, np.uint8)
    table[: len(Structure) + 1] = label_table(structures)
    # Not table[labels]: numpy makes an index of 8 bytes of every pixel first.
    return cv2.LUT(labels.reshape(-1, labels.shape[2]), table).reshape(labels.shape)
