"""mmengine's CheckpointHook, made so that a run may be killed at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as UpstreamCheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from echozoo.registry import HOOKS
from echozoo.whole_files import remove_parts


@HOOKS.register_module()
class CheckpointHook(UpstreamCheckpointHook):
    """mmengine's hook of this name, with its options; a killed run, resumed, ends as any other.

    - What a new checkpoint replaces is removed after it, not before, and what a killed run did
      not come to remove is removed when it is resumed.
    - A checkpoint is saved before its epoch is validated. Where the validation was cut, or its
      end is not known, the resumed run begins with it.
    - A checkpoint carries the name of the run's config, its scale, and by which metric and rule
      it is the best one.
    - A run that goes on in another folder leaves the files of the first one alone.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._validated: list[int] | None = None  # after so many epochs and iterations
        self._superseded: list[str] = []
        self._removals = _Removals()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember what the checkpoint says."""
        self._validated = checkpoint["meta"].get("validated")
        self._superseded = checkpoint["meta"].get("superseded", [])

    def before_train(self, runner: Runner) -> None:
        """Find the folder, finish what a killed run has begun there, and begin.

        Args:
            runner: The runner; its checkpoint is loaded.
        """
        super().before_train(runner)
        if is_main_process():
            remove_parts(self.out_dir)
        resumed = runner.iter > 0
        if resumed:
            self._take_over(runner)
        self._removals.backend, self.file_backend = self.file_backend, self._removals
        if resumed and _validation_is_due(runner, self._validated):
            done = f"epoch {runner.epoch}" if self.by_epoch else f"iteration {runner.iter}"
            runner.logger.info(f"{done} was saved before its validation: it is validated first")
            runner.val_loop.run()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add to the checkpoint what a resumed run and `echozoo.run_folder` ask it for."""
        if runner.cfg.filename:
            checkpoint["meta"]["config_file"] = Path(runner.cfg.filename).name
        checkpoint["meta"].update(
            scale=runner.cfg.get("scale"),
            validated=self._validated,
            superseded=[path.name for path in self._removals.waiting],
        )
        if self.save_best:
            by = zip(self.key_indicators, self.rules, strict=True)
            checkpoint["meta"]["save_best"] = [list(one) for one in by]

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Save the best checkpoint; then the one before it goes."""
        self._validated = [runner.epoch, runner.iter]
        super().after_val_epoch(runner, metrics)
        self._removals.carry_out()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._removals.carry_out()

    def _take_over(self, runner: Runner) -> None:
        """Take best scores over with their files, and remove what the killed run had replaced."""
        folder, hub = Path(self.out_dir), runner.message_hub
        for key in self.key_indicators if self.save_best else ():
            suffix = "" if len(self.key_indicators) == 1 else f"_{key}"
            if f"best_ckpt{suffix}" not in hub.runtime_info:
                continue
            # By its name: the folder may have been moved, or this run be in another.
            best = folder / Path(hub.get_info(f"best_ckpt{suffix}")).name
            if best.is_file():
                hub.update_info(f"best_ckpt{suffix}", str(best))
            else:
                hub.pop_info(f"best_ckpt{suffix}"), hub.pop_info(f"best_score{suffix}")
            found = str(best) if best.is_file() else None
            if suffix:
                self.best_ckpt_path_dict[key] = found
            else:
                self.best_ckpt_path = found
        for name in self._superseded if is_main_process() else ():
            (folder / Path(name).name).unlink(missing_ok=True)


class _Removals:
    """A file backend that removes files later, when what takes their place has been written."""

    def __init__(self) -> None:
        self.backend: Any = None
        self.waiting: list[Path] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str | Path) -> None:
        self.waiting.append(Path(path))

    def carry_out(self) -> None:
        while self.waiting:
            self.backend.remove(self.waiting.pop())


def _validation_is_due(runner: Runner, validated: list[int] | None) -> bool:
    """Answer as the training loop does where it has just come this far."""
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    if isinstance(loop, EpochBasedTrainLoop):
        place, done, end = 0, loop.epoch, loop.max_epochs
    else:
        place, done, end = 1, loop.iter, loop.max_iters
    if done < loop.val_begin or (validated and validated[place] == done):
        return False
    loop._decide_current_val_interval()
    return done % loop.val_interval == 0 or done == end
