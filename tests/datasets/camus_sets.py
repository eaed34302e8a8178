"""CAMUS data sets on small folders."""

from __future__ import annotations

from pathlib import Path

from echozoo.datasets.camus import CAMUSDataset
from echozoo.registry import DATASETS


def build(root: Path, folder: Path, **options) -> CAMUSDataset:
    """The data set of a folder, its cache in another; by default whole clips of ED and ES."""
    options = {"split": "ratio", "frames": "ed_es", "clip_length": None, **options}
    return DATASETS.build(
        {
            "type": "CAMUSDataset",
            "data_root": str(root),
            "cache_dir": str(folder / "cache"),
            "pipeline": [{"type": "LoadClip"}],
            "serialize_data": False,  # it collects garbage, half a second each
            **options,
        }
    )
