from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from torch.utils.data import DataLoader, RandomSampler, Subset

from echozoo.engine.hooks import epoch_seed
from echozoo.engine.hooks.epoch_seed import EpochSeedHook, set_epoch


class Data(BaseDataset):
    def __init__(self):
        super().__init__()
        self.told = None

    def load_data_list(self) -> list[dict]:
        return [{} for _ in range(4)]

    def set_epoch(self, epoch: int, seed: int) -> None:
        self.told = (epoch, seed)


def draws(epoch: int, seed: int) -> tuple:
    loader = DataLoader(Data(), sampler=SimpleNamespace(seed=99))
    runner = SimpleNamespace(train_dataloader=loader, epoch=epoch, seed=seed)
    EpochSeedHook().before_train_epoch(runner)
    assert loader.dataset.told == (epoch, seed)
    assert loader.sampler.seed == seed
    return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002


def test_an_epoch_draws_the_same_whatever_came_before():
    first = draws(epoch=2, seed=7)
    draws(epoch=3, seed=7)
    assert draws(epoch=2, seed=7) == first


@pytest.mark.parametrize("changed", [dict(epoch=1, seed=7), dict(epoch=2, seed=8)])
def test_epochs_and_seeds_differ(changed):
    assert not set(draws(epoch=2, seed=7)) & set(draws(**changed))


def test_processes_draw_differently(monkeypatch):
    first = draws(epoch=0, seed=0)
    monkeypatch.setattr(epoch_seed, "get_rank", lambda: 1)
    assert not set(first) & set(draws(epoch=0, seed=0))


def test_a_sampler_without_a_seed_is_left_alone():
    loader = DataLoader(Data(), sampler=RandomSampler(Data()))
    runner = SimpleNamespace(train_dataloader=loader, epoch=1, seed=2)
    EpochSeedHook().before_train_epoch(runner)
    assert loader.dataset.told == (1, 2)


def test_wrappers_hand_the_epoch_on():
    data = [Data() for _ in range(3)]
    set_epoch(ConcatDataset(data[:2]), 4, 5)
    set_epoch(Subset(RepeatDataset(data[2], times=2), [0]), 4, 5)
    assert [d.told for d in data] == [(4, 5)] * 3


def test_a_dataset_without_epochs_is_left_alone():
    set_epoch([1, 2, 3], 0, 0)
