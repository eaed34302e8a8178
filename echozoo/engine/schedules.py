"""Learning rates over a training whose length, batch or number of processes has changed.

A scheduler without an ``end`` ends with the training: mmengine fills it in. What is left to do is
to move the ends that a config writes out, and to resume by the config and not by the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.optim import _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

# What a scheduler may count to: the length of a training, in epochs or in iterations.
_LENGTHS = ("end", "T_max", "total_steps")


def training_length(cfg: Config) -> dict[str, int]:
    """Return how long a config trains: ``max_epochs`` or ``max_iters``, as it is written.

    Args:
        cfg: A config; one that does not train has no length.
    """
    loop = cfg.get("train_cfg") or {}
    return {key: loop[key] for key in ("max_epochs", "max_iters") if loop.get(key) is not None}


def follow_length(cfg: Config, old: Mapping[str, int]) -> list[str]:
    """Move the ends of schedulers that meant the end of the training to where it is now.

    Args:
        cfg: The config to change; its length has changed.
        old: Its `training_length` before.

    Returns:
        What was moved, a line each.
    """
    schedulers = cfg.get("param_scheduler") or []
    moved = []
    for key, new in training_length(cfg).items():
        for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
            by_epoch = scheduler.get("by_epoch", True)
            if by_epoch != (key == "max_epochs") or old.get(key) in (None, new):
                continue
            begin = scheduler.get("begin", 0)
            for name in _LENGTHS:
                start = 0 if name == "end" else begin
                if scheduler.get(name) == old[key] - start:
                    scheduler[name] = new - start
                    moved.append(
                        f"param_scheduler: {scheduler['type']}'s {name} follows train_cfg.{key}: "
                        f"{old[key] - start} is now {new - start}"
                    )
    return moved


class ResumedSchedule:
    """The optimiser's settings and schedules of a config, while a checkpoint is loaded over them.

    A checkpoint keeps them as they were; this puts the config's back and brings them to the place
    in the training, step by step as the training would have. So a run that goes on with more
    epochs, another batch or another number of processes follows its config by epochs, and a run
    that has changed nothing comes to the very numbers of the checkpoint. Where a schedule depends
    on past metrics (ReduceOnPlateau), the checkpoint's is kept, and that is said.

    Args:
        runner: Its optimiser and schedulers are those of the config, at the beginning.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._settings = [_settings(group) for group in runner.optim_wrapper.param_groups]
        self._states = [scheduler.state_dict() for scheduler in _schedulers(runner)]

    def apply(self) -> None:
        """Put the config's settings back, at the place that the checkpoint has reached.

        Raises:
            ValueError: It was written by another kind of optimiser.
        """
        runner, loop = self.runner, self.runner.train_loop
        reached, by_epochs = loop.iter, isinstance(loop, EpochBasedTrainLoop)
        if by_epochs:
            loop._iter = loop.epoch * len(runner.train_dataloader)
        if any(getattr(one, "need_val_args", False) for one in _schedulers(runner)):
            runner.logger.info("The schedule depends on past metrics: the checkpoint's is kept")
        else:
            self._by_config(reached)
        if by_epochs and loop.epoch >= loop.max_epochs:
            runner.logger.info(
                f"Nothing is left to train: {loop.epoch} of {loop.max_epochs} epochs are done; "
                "more by --cfg-options train_cfg.max_epochs=N"
            )

    def _by_config(self, reached: int) -> None:
        runner, loop = self.runner, self.runner.train_loop
        groups = runner.optim_wrapper.param_groups
        found = [group["lr"] for group in groups]
        for group, settings in zip(groups, self._settings, strict=True):
            if absent := settings.keys() - group.keys() - {"initial_lr"}:
                raise ValueError(f"its optimiser has no {sorted(absent)[0]}")
            group.update(settings)
        self._replay(loop.epoch, loop.iter)
        wanted = [group["lr"] for group in groups]
        if loop.iter != reached or found != wanted:
            runner.logger.info(
                f"Resumed at epoch {loop.epoch}, iteration {loop.iter} (the checkpoint's: "
                f"{reached}): the schedule is the config's, learning rate {wanted[0]:.3g} (the "
                f"checkpoint's: {found[0]:.3g})"
            )

    def _replay(self, epochs: int, iterations: int) -> None:
        """Step the schedulers as `ParamSchedulerHook` would have; without epochs, by iterations."""
        schedulers = _schedulers(self.runner)
        for scheduler, state in zip(schedulers, self._states, strict=True):
            scheduler.load_state_dict(state)
        if iterations:
            self.runner.optim_wrapper._global_step = 0  # or each step warns that none came before
        length = iterations // max(epochs, 1)
        for iteration in range(1, iterations + 1):
            ends_epoch = bool(epochs) and iteration % length == 0
            for by_epoch in (False, True)[: 1 + ends_epoch]:
                for scheduler in schedulers:
                    if scheduler.by_epoch == by_epoch:
                        scheduler.step()


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in ("params", "param_names")}


def _schedulers(runner: Runner) -> list[_ParamScheduler]:
    found = runner.param_schedulers or []
    return [one for each in found.values() for one in each] if isinstance(found, dict) else found
