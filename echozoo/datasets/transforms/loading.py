"""Loading the frames of a clip."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from echozoo.datasets.anatomy import Structure, label_table
from echozoo.datasets.cache import cached_volume
from echozoo.datasets.io import Volume
from echozoo.errors import DataError
from echozoo.registry import TRANSFORMS

_LABEL_MEANINGS = ", ".join(
    ["0 background", *(f"{structure.value} {structure.full_name}" for structure in Structure)]
)


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
        first, spacing = self._common_grid(volumes)
        results["images"] = np.stack(
            [volumes[image].array[index] for image, _, index in frame_files]
        )  # (T, H, W)
        results["spacing"] = spacing
        results["native_size"] = first
        if all(label for _, label, _ in frame_files):
            results["labels"] = self._load_labels(volumes, results)
            if results["test_mode"]:
                results["native_labels"] = results["labels"].copy()
        return results

    @staticmethod
    def _common_grid(volumes: dict[str, Volume]) -> tuple[tuple[int, int], tuple[float, float]]:
        (first, reference), *others = volumes.items()
        size, spacing = reference.array.shape[1:], reference.spacing
        for path, volume in others:
            if volume.array.shape[1:] != size:
                raise DataError(
                    f"{path}: frames of {_by(volume.array.shape[1:])} pixels, wanted {_by(size)}"
                    f" as in {first}: the frames of a clip share one grid"
                )
            if not np.allclose(volume.spacing, spacing, rtol=1e-3):
                raise DataError(
                    f"{path}: spacing of {_by(volume.spacing)} mm, wanted {_by(spacing)}"
                    f" as in {first}: the frames of a clip share one grid"
                )
        return size, spacing

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
        table = np.zeros(256, np.uint8)
        table[: len(Structure) + 1] = label_table(results["structures"])
        # Not table[labels]: numpy makes an index of 8 bytes of every pixel first.
        return cv2.LUT(labels.reshape(-1, labels.shape[2]), table).reshape(labels.shape)


def check_same_size(image_file: str, image: np.ndarray, label_file: str, label: np.ndarray) -> None:
    """Refuse a mask (T, H, W) of another size than its image.

    Raises:
        DataError: They differ.
    """
    if label.shape != image.shape:
        raise DataError(
            f"{label_file}: mask of {_by(label.shape)} (frames, rows, columns), wanted"
            f" {_by(image.shape)} as its image {image_file}"
        )


def check_labels(label_file: str, labels: np.ndarray) -> None:
    """Refuse a mask with labels that CAMUS does not have.

    Raises:
        DataError: There is one above 3.
    """
    if labels.max() > max(Structure):
        found = ", ".join(str(value) for value in np.unique(labels)[:8])
        raise DataError(
            f"{label_file}: label values {found}, wanted only {_LABEL_MEANINGS}; convert the mask"
        )


def _by(numbers: tuple) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
