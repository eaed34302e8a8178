"""Cutting clips to their ultrasound sectors, as inference does."""

from __future__ import annotations

from mmcv.transforms import BaseTransform

from echozoo.films.sector import detect_sector
from echozoo.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CutToSector(BaseTransform):
    """Cut a clip and its labels to the sector that is found in its frames.

    For data that are a scanner's screens; it comes right after `LoadClip`. A clip that fills its
    frames, as CAMUS's do, or that shows no sector stays as it is.
    """

    def transform(self, results: dict) -> dict:
        """Cut ``images`` (T, H, W), all labels, and ``native_size``."""
        sector = detect_sector(results["images"])
        for key in ("images", "labels", "native_labels"):
            if key in results:
                results[key] = sector.cut(results[key])
        results["native_size"] = sector.size
        return results
