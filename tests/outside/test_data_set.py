"""A data set from a user's own file: videos of unknown spacing with labels on two frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from echozoo.structures import EchoDataSample

PART = '''
from echozoo.datasets.film_dataset import FilmDataset
from echozoo.registry import DATASETS


@DATASETS.register_module()
class Outpatients(FilmDataset):
    """Videos; beside each a picture of the ventricle at ED and one at ES."""

    label_values = {"lv": 255}

    def find_films(self, root):
        for video in sorted(root.glob("*.avi")):
            masks = {k: video.with_name(f"{video.stem}_{k}.png") for k in (2, 7)}
            yield self.film(video.stem, "4CH", video, masks, instants={2: "ED", 7: "ES"})
'''
CONFIG = """
# The model knows three structures, the data set one of them.
three = ("lv", "myo", "la")
shared = dict(_delete_=True, type="Outpatients", image_size=(64, 64), structures=three)
testing = dict(test_mode=True, pipeline={{_base_.test_pipeline}}, **shared)
train_dataloader = dict(
    dataset=dict(subset="train", pipeline={{_base_.train_pipeline}}, **shared)
)
val_dataloader = dict(dataset=dict(subset="val", **testing))
test_dataloader = dict(dataset=dict(subset="test", **testing))
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Ten videos of ten frames, a bright disc with masks at frames 2 and 7."""
    folder = tmp_path / "clinic"
    folder.mkdir()
    for patient in range(10):
        path = folder / f"p{patient}.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
        for frame in range(10):
            mask = np.zeros((48, 64), np.uint8)
            cv2.circle(mask, (25 + frame, 20 + patient), 8, 255, -1)
            writer.write(np.repeat(mask[..., None] // 2, 3, axis=2))
            if frame in (2, 7):
                cv2.imwrite(str(path.with_name(f"{path.stem}_{frame}.png")), mask)
        writer.release()
    return folder


def test_it_trains_and_tests_with_few_labels(trained, clinic: Path) -> None:
    run = trained("samus_tra.py", PART, CONFIG, data=clinic, indices=None, clip_length=4)
    test, train = run.runner.test_dataloader.dataset, run.runner.train_dataloader.dataset
    films = len({test.get_data_info(k)["film"].patient for k in range(len(test))})
    assert run.metrics["camus/num_patients"] == films
    assert run.metrics["camus/num_images"] == 2 * films
    assert 0 <= run.metrics["camus/lv/dice_with_empty_as_0"] <= 1
    assert np.isnan(run.metrics["camus/hd_mm"])
    for epoch in range(8):
        train.set_epoch(epoch, 0)
        for k in range(len(train)):
            of_two_frames(train[k]["data_samples"])


def of_two_frames(sample: EchoDataSample) -> None:
    """A clip of training has a labelled frame at least, and says which they are."""
    assert sample.labelled.shape == (4, 3)
    assert not sample.labelled[:, 1:].any()
    assert sample.labelled[:, 0].tolist() == [f in (2, 7) for f in sample.frames]
    assert sample.labelled.any()
    assert (sample.point_labels[~sample.labelled] == -1).all()
    assert sample.spacing is None
