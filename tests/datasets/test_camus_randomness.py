"""What a sample draws depends on the seed, the epoch and its index, whoever makes it."""

from __future__ import annotations

import pytest
import torch
from camus_sets import build
from torch.utils.data import DataLoader


def draws(loader) -> list[dict]:
    return [sample for batch in loader for sample in batch]


def draw_number(results: dict) -> dict:
    """The end of a pipeline: what a random transform after loading would draw."""
    return {
        "sample_idx": results["sample_idx"],
        "frames": results["frames"],
        "number": float(results["rng"].random()),
    }


@pytest.fixture
def random_set(make_camus, tmp_path):
    root = make_camus(patients=6, frames=9)
    return build(
        root,
        tmp_path,
        frames="sequence",
        clip_length=3,
        pipeline=[{"type": "LoadClip"}, draw_number],
        serialize_data=True,
    )


def test_a_sample_depends_on_seed_epoch_and_index_only(random_set):
    random_set.set_epoch(3, 7)
    first = [random_set[k] for k in range(len(random_set))]
    again = [random_set[k] for k in reversed(range(len(random_set)))][::-1]
    assert first == again
    assert len({sample["number"] for sample in first}) == len(first)
    for epoch, seed in ((4, 7), (3, 8)):
        random_set.set_epoch(epoch, seed)
        assert [random_set[k] for k in range(len(random_set))] != first
    assert random_set[-1]["sample_idx"] == len(random_set) - 1


@pytest.mark.parametrize("workers", [1, 2])
def test_persistent_workers_see_the_epoch(random_set, workers):
    options = {"batch_size": 2, "collate_fn": list}
    alone = DataLoader(random_set, **options)
    several = DataLoader(random_set, num_workers=workers, persistent_workers=True, **options)
    epochs = []
    for epoch in range(3):
        random_set.set_epoch(epoch, 1)
        epochs.append(draws(alone))
        assert draws(several) == epochs[-1]
    assert epochs[0] != epochs[1] != epochs[2]


def test_in_test_mode_epochs_are_alike(make_camus, tmp_path):
    dataset = build(make_camus(), tmp_path, test_mode=True, pipeline=[draw_number])
    dataset.set_epoch(0, 5)
    first = dataset[1]
    dataset.set_epoch(9, 5)
    assert dataset[1] == first


def test_the_shared_state_is_shared(random_set):
    assert random_set._epoch_and_seed.is_shared()
    assert random_set._epoch_and_seed.dtype == torch.int64
