"""A data set of one's own: two structures under other values, masks of two frames of each film."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echozoo.films.io import write_volume

PART = '''
from echozoo.datasets.film_dataset import FilmDataset
from echozoo.registry import DATASETS


@DATASETS.register_module(force=True)
class Clinic(FilmDataset):
    """Films, beside each the masks of its frames 1 and 3."""

    label_values = {"lv": 40, "la": 7}

    def find_films(self, root):
        for film in sorted(root.glob("p.?.nii.gz")):
            masks = film.with_name(film.name.replace(".nii", "_masks.nii"))
            instants = {1: "ED", 3: "ES"}
            labels = {1: (masks, 0), 3: (masks, 1)}
            yield self.film(film.name[:3], "4CH", film, labels, instants, sequence=film.name[:3])
'''
CONFIG = """
custom_imports = dict(imports=["clinic_part"])
_data = dict(_delete_=True, type="Clinic", split="ratio", clip_length=4, pipeline={pipeline})
train_dataloader = dict(dataset=dict(subset="train", **_data))
val_dataloader = dict(dataset=dict(subset="val", test_mode=True, **_data))
test_dataloader = dict(num_workers=0, dataset=dict(subset="test", test_mode=True, **_data))
"""
PIPELINE = [dict(type="LoadClip"), dict(type="PackClip")]


def write_clinic(folder: Path, films: int = 10) -> Path:
    """Write films of four frames (20, 30); the LV shrinks from frame 1 to frame 3."""
    rng = np.random.default_rng(0)
    for number in range(films):
        masks = np.zeros((2, 20, 30), np.uint8)
        masks[0, 3:14, 4:15], masks[1, 3:12, 4:13], masks[:, 15:19, 5:12] = 40, 40, 7
        images = rng.integers(0, 255, (4, 20, 30)).astype(np.uint8)
        write_volume(folder / f"p.{number}.nii.gz", images, (4.0, 4.0))
        write_volume(folder / f"p.{number}_masks.nii.gz", masks, (4.0, 4.0))
    return folder


def write_config(folder: Path, base: Path) -> Path:
    """Write the part and a config of the data set on top of another."""
    (folder / "clinic_part.py").write_text(PART)
    path = folder / "clinic.py"
    path.write_text(f"_base_ = {str(base)!r}\n{CONFIG.format(pipeline=PIPELINE)}")
    return path
