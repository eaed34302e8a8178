"""Random numbers that depend on the seed and the epoch, not on the run's past."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from echozoo.registry import HOOKS


def set_epoch(dataset: Any, epoch: int, seed: int) -> None:
    """Tell a data set which epoch begins, through wrappers that repeat, join or cut it.

    Args:
        dataset: A data set; those without ``set_epoch`` are left alone.
        epoch: The epoch that begins, from 0.
        seed: The run's seed.
    """
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(epoch, seed)
        return
    for inner in [getattr(dataset, "dataset", None), *getattr(dataset, "datasets", [])]:
        if inner is not None:
            set_epoch(inner, epoch, seed)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed every epoch from (seed, epoch, rank).

    A run that was killed within an epoch and resumed from the last epoch's checkpoint repeats
    that epoch exactly: its data set draws from (seed, epoch, index), the sampler shuffles by
    (seed, epoch), and dropout draws from generators that are seeded here. Transforms that draw
    from numpy's global generator inside a worker are outside this promise.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed torch, numpy and python, and hand the epoch to the data set.

        Args:
            runner: The runner; its ``seed`` and ``epoch`` are read.
        """
        loader = runner.train_dataloader
        set_epoch(loader.dataset, runner.epoch, runner.seed)
        # Resuming takes the seed from the checkpoint, after the sampler was built with another.
        if hasattr(loader.sampler, "seed"):
            loader.sampler.seed = runner.seed
        sequence = np.random.SeedSequence([runner.seed, runner.epoch, get_rank()])
        value = int(sequence.generate_state(1)[0])
        random.seed(value)
        np.random.seed(value)  # noqa: NPY002  (upstream's transforms draw from it)
        torch.manual_seed(value)
