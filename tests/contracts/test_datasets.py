"""What every data set keeps: samples, labels, windows, subsets, randomness."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from parts import Case

from echozoo.datasets.anatomy import VIEWS
from echozoo.films.cache import cached_volume
from echozoo.registry import DATASETS, MODELS

SIZE = (32, 48)
PIPELINE = [{"type": name} for name in ("LoadClip", "ResizeClip", "PackClip")]
Make = Callable[..., BaseDataset]


@pytest.fixture
def make(dataset: Case, tmp_path: Path) -> Make:
    """Builds the data set on its data, with options."""
    given = dataset.arguments
    arguments = given(tmp_path) if callable(given) else given
    fixed = dict(cache_dir=str(tmp_path / "cache"), image_size=SIZE, pipeline=PIPELINE)

    def build(**options) -> BaseDataset:
        return DATASETS.build({**arguments, **fixed, **options, "type": dataset.part})

    return build


def films_of(data: BaseDataset) -> dict[str, list]:
    """Its films by name, with the frames of every sample."""
    films: dict = {}
    for k in range(len(data)):
        entry = data.get_data_info(k)
        film = entry["film"]
        films.setdefault(f"{film.patient} {film.view} {film.sequence}", []).append(
            (film, entry["frames"])
        )
    return films


def same(one: dict, other: dict) -> bool:
    first, second = one["data_samples"], other["data_samples"]
    return (
        torch.equal(one["inputs"], other["inputs"])
        and torch.equal(first.gt_labels, second.gt_labels)
        and first.frames == second.frames
    )


@pytest.mark.parametrize("frames", [1, 2, None])
def test_samples_are_clips_whose_labels_are_those_of_the_files(make: Make, frames) -> None:
    data = make(subset="train", test_mode=True, clip_length=frames)
    labelled = 0
    for k in range(min(len(data), 4)):
        inputs, sample = data[k]["inputs"], data[k]["data_samples"]
        length = len(sample.frames)
        assert inputs.shape == (length, 1, *SIZE)
        assert frames in (None, length)
        assert sample.gt_labels.shape == (length, *SIZE)
        assert sample.labelled.shape == (length, len(data.structures))
        assert sample.view in VIEWS
        assert set(sample.instants) <= {"", "ED", "ES"}
        assert sample.spacing is None or min(sample.spacing) > 0
        for t, files in enumerate(sample.frame_files):
            known = [name in data.label_values for name in data.structures]
            assert sample.labelled[t].tolist() == [bool(files.label) and there for there in known]
            if files.label:
                labelled += 1
                compare(data, files, sample.native_labels[t].numpy())
            else:
                assert (sample.native_labels[t] == 255).all()
    assert labelled, "none of the first samples has a label"


def compare(data: BaseDataset, files, labels: np.ndarray) -> None:
    """Each structure is where the mask file has its value, all else background."""
    mask = cached_volume(files.label, data.cache_dir, label=True).array[files.index_in_label]
    wanted = np.zeros_like(mask)
    for number, name in enumerate(data.structures, 1):
        if name in data.label_values:
            wanted[mask == data.label_values[name]] = number
    np.testing.assert_array_equal(labels, wanted)
    assert wanted.any()


def test_a_structure_can_be_taken_alone(make: Make) -> None:
    name = next(reversed(make().label_values))
    data = make(structures=name, test_mode=True, clip_length=1)
    assert data.metainfo["classes"] == (name,)
    for k in range(len(data)):
        sample = data[k]["data_samples"]
        if sample.labelled.all():
            compare(data, sample.frame_files[0], sample.native_labels[0].numpy())
            return
    pytest.fail(f"no frame of {len(data)} has a label of {name}")


def test_a_test_sees_every_frame_and_training_a_label(make: Make) -> None:
    for samples in films_of(make(subset="test", test_mode=True, clip_length=2)).values():
        seen = {frame for _, frames in samples for frame in frames}
        assert seen == set(range(len(samples[0][0])))
    train = make(subset="train", clip_length=2)
    for epoch in range(3):
        train.set_epoch(epoch, 0)
        for k in range(len(train)):
            assert train[k]["data_samples"].labelled.any()


def test_a_patient_is_in_one_subset(make: Make) -> None:
    patients = [
        {film.patient for samples in films_of(make(subset=subset)).values() for film, _ in samples}
        for subset in ("train", "val", "test")
    ]
    assert all(patients)
    assert sum(map(len, patients)) == len(set.union(*patients))


def test_samples_follow_from_seed_epoch_and_index(make: Make) -> None:
    data, other = make(clip_length=2), pickle.loads(pickle.dumps(make(clip_length=2)))
    for one in (data, other):
        one.set_epoch(3, 7)
    wanted = [data[k] for k in range(len(data))]
    assert all(same(other[k], wanted[k]) for k in reversed(range(len(data))))


def test_a_batch_of_two_is_two_of_one(make: Make) -> None:
    data = make(clip_length=2)
    samples = [data[0], data[min(1, len(data) - 1)]]
    scale = MODELS.build(dict(type="EchoDataPreprocessor"))

    def batch(*chosen: dict) -> dict:
        return scale({name: [one[name] for one in chosen] for name in chosen[0]})

    both = batch(*samples)
    assert both["inputs"].shape[:2] == (2, 2)
    alone = [batch(one)["inputs"] for one in samples]
    assert torch.equal(both["inputs"], torch.cat(alone))
