from __future__ import annotations

import numpy as np
from scanner_screens import fan, on_screen, overlap

from echozoo.datasets.transforms.sectors import CutToSector


def test_a_clip_and_its_labels_are_cut_alike() -> None:
    images, box = on_screen(fan(5, (200, 250)), (300, 400), 0.6)
    labels = (images > 0).astype(np.uint8)
    results = CutToSector()({"images": images, "labels": labels, "native_size": (300, 400)})
    height, width = results["native_size"]
    assert results["images"].shape == results["labels"].shape == (5, height, width)
    np.testing.assert_array_equal(results["labels"], results["images"] > 0)
    assert overlap((box[0], box[1], box[0] + height, box[1] + width), box) > 0.9


def test_a_clip_that_is_a_sector_stays() -> None:
    images = fan(5, (200, 250))
    np.testing.assert_array_equal(CutToSector()({"images": images})["images"], images)
