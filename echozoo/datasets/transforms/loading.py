"""Loading the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.anatomy import UNLABELLED, label_table
from echozoo.datasets.checks import (
    check_labels,
    check_length,
    check_mask_size,
    check_one_grid,
)
from echozoo.datasets.films import FrameFiles
from echozoo.films.cache import cached_volume
from echozoo.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadClip(BaseTransform):
    """Read the frames that ``frame_files`` names, through the cache, and their masks.

    Adds ``images`` (T, H, W) uint8, ``spacing`` (dy, dx) mm or None, ``native_size`` (H, W),
    ``labels`` (T, H, W) uint8 with the chosen structures counted from 1, ``labelled`` (T, K) bool;
    in test mode also ``native_labels``, a copy of the labels that no transform touches. A frame
    without a mask is 255 throughout in both, and not labelled.
    """

    def transform(self, results: dict) -> dict:
        """Load one clip.

        Raises:
            DataError: A file cannot be read; an image and its mask, or the frames of the clip,
                differ in size or spacing; a mask has a label that is none.
        """
        frame_files: Sequence[FrameFiles] = results["frame_files"]
        images = dict.fromkeys(files.image for files in frame_files)  # a film is one file
        volumes = {image: cached_volume(image, results["cache_dir"]) for image in images}
        results["native_size"], results["spacing"] = check_one_grid(
            {image: (volume.array.shape[1:], volume.spacing) for image, volume in volumes.items()}
        )
        for files in frame_files:
            check_length(files.image, len(volumes[files.image].array), files.index + 1)
        results["images"] = np.stack(
            [volumes[files.image].array[files.index] for files in frame_files]
        )  # (T, H, W)
        masks = []
        for files in frame_files:
            masks.append(None)
            if files.label:
                volume = cached_volume(
                    files.label, results["cache_dir"], label=True, image=files.image
                ).array
                image = volumes[files.image].array
                check_mask_size(files.image, image, files.label, volume, files.aligned)
                masks[-1] = volume[files.index_in_label]
                check_labels(files.label, masks[-1], results["label_values"])
        put_labels(results, masks)
        if results["test_mode"]:
            results["native_labels"] = results["labels"].copy()
        return results


def put_labels(results: dict, masks: Sequence[np.ndarray | None]) -> None:
    """Set ``labels`` (T, H, W) uint8 and ``labelled`` (T, K) bool of a loaded clip.

    Args:
        results: The clip, with ``images``, ``structures`` and ``label_values``.
        masks: For each frame the mask (H, W) uint8 with the values on disk, or None.
    """
    table = label_table(results["structures"], results["label_values"])
    labels = np.full(results["images"].shape, UNLABELLED, np.uint8)
    for frame, mask in zip(labels, masks, strict=True):
        if mask is not None:
            # Not table[mask]: numpy makes an index of 8 bytes of every pixel first.
            cv2.LUT(np.ascontiguousarray(mask), table, dst=frame)
    there = np.array([mask is not None for mask in masks])
    known = np.array([name in results["label_values"] for name in results["structures"]])
    results["labels"], results["labelled"] = labels, there[:, None] & known  # (T, K)
