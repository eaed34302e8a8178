"""A data set from a user's own file: videos of unknown spacing with labels on two frames."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.runner import Runner

from echozoo.engine import launch

OWN_FILE = '''
from echozoo.datasets.film_dataset import FilmDataset
from echozoo.registry import DATASETS


@DATASETS.register_module()
class Clinic(FilmDataset):
    """Videos; beside each a picture of the ventricle at ED and one at ES."""

    label_values = {"lv": 255}

    def find_films(self, root):
        for video in sorted(root.glob("*.avi")):
            masks = {k: video.with_name(f"{video.stem}_{k}.png") for k in (2, 7)}
            yield self.film(video.stem, "4CH", video, masks, instants={2: "ED", 7: "ES"})
'''
CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=["my_clinic"])
# The model knows three structures, the data set one of them.
shared = dict(
    _delete_=True, type="Clinic", data_root=None, image_size=(64, 64), clip_length=4,
    structures=("lv", "myo", "la"),
)
testing = dict(test_mode=True, pipeline={{{{_base_.test_pipeline}}}}, **shared)
train_dataloader = dict(
    dataset=dict(subset="train", pipeline={{{{_base_.train_pipeline}}}}, **shared)
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


@pytest.fixture
def runner(clinic: Path, tiny_configs: Path, tmp_path: Path, monkeypatch) -> Runner:
    """A small samus_tra on it, told by a config and one more file."""
    (tmp_path / "my_clinic.py").write_text(OWN_FILE)
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "clinic_samus.py"
    config.write_text(CONFIG.format(base=str(tiny_configs / "samus_tra.py")))
    options: dict = {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1}
    for loader in launch.LOADERS:
        options |= {f"{loader}.num_workers": 0, f"{loader}.persistent_workers": False}
    small = {"embed_dims": 24, "num_heads": 2, "conv_channels": (4, 4, 8)}
    options |= {f"model.backbone.{key}": value for key, value in small.items()}
    cfg = launch.read_config(
        Namespace(
            config=str(config), scale=None, data_root=str(clinic), dataset={},
            cfg_options=options, work_dir=str(tmp_path / "run"), amp=None, seed=0, launcher="none",
        )
    )  # fmt: skip
    return launch.build_runner(cfg)


def test_it_trains_and_tests(runner: Runner) -> None:
    runner.train()
    metrics = runner.test()
    films = len({entry["film"].patient for entry in map(dict, iter_entries(runner))})
    assert metrics["camus/num_patients"] == films
    assert metrics["camus/num_images"] == 2 * films
    assert 0 <= metrics["camus/lv/dice_with_empty_as_0"] <= 1
    assert np.isnan(metrics["camus/hd_mm"])


def iter_entries(runner: Runner):
    dataset = runner.test_dataloader.dataset
    return (dataset.get_data_info(k) for k in range(len(dataset)))


def test_each_clip_of_training_has_a_label(runner: Runner) -> None:
    dataset = runner.train_dataloader.dataset
    for epoch in range(8):
        dataset.set_epoch(epoch, 0)
        for k in range(len(dataset)):
            sample = dataset[k]["data_samples"]
            assert sample.labelled.shape == (4, 3)
            assert not sample.labelled[:, 1:].any()
            assert sample.labelled[:, 0].tolist() == [f in (2, 7) for f in sample.frames]
            assert sample.labelled.any()
            assert (sample.point_labels[~sample.labelled] == -1).all()
            assert sample.spacing is None
