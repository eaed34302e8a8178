"""From a clip in the pipeline to what the model takes."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from echozoo.datasets.transforms.base import valid_size
from echozoo.registry import TRANSFORMS
from echozoo.structures import EchoDataSample

# Field of the sample -> key in the pipeline; those that the pipeline has not made stay away.
_FIELDS = {
    "gt_labels": "labels",
    "native_labels": "native_labels",
    "labelled": "labelled",
    "points": "points",
    "point_labels": "point_labels",
    "boxes": "boxes",
    "mask_prompts": "mask_prompts",
}
_META = (
    *("patient", "view", "sequence", "quality", "frames", "frame_files"),
    *("instants", "structures", "label_values", "clips", "info"),
)


def _tensor(array: np.ndarray) -> torch.Tensor:
    # Copies only what torch cannot share: views with negative strides, read-only maps.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


@TRANSFORMS.register_module()
class PackClip(BaseTransform):
    """Pack a clip as ``inputs`` and an `EchoDataSample`, the last step of every pipeline."""

    def transform(self, results: dict) -> dict:
        """Return the packed clip.

        Args:
            results: The clip, images (T, H, W) with gray levels 0 to 255. Prompts of kinds that
                only some prompt heads know are arrays (T, K, ...) by kind in ``extra_prompts``.

        Returns:
            ``inputs`` (T, 1, H, W) float32, still 0 to 255, and ``data_samples``.
        """
        images = results["images"]
        sample = EchoDataSample()
        for field, key in _FIELDS.items():
            if key in results:
                sample.set_data({field: _tensor(results[key])})
        for kind, prompts in results.get("extra_prompts", {}).items():
            sample.set_data({kind: _tensor(prompts)})
        size = images.shape[1:]
        sample.set_metainfo(
            {
                **{key: results[key] for key in _META if key in results},
                "spacing": results.get("spacing"),
                "native_size": tuple(results.get("native_size", size)),
                "input_size": tuple(results.get("input_size", size)),
                "valid_size": tuple(valid_size(results)),
            }
        )
        inputs = _tensor(images.astype(np.float32, copy=False))[:, None]  # (T, 1, H, W)
        return dict(inputs=inputs, data_samples=sample)
