"""mmengine's Runner with a screen that shows the run, and with weights that must fit."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from echozoo import run_folder
from echozoo.command_line import command_line
from echozoo.engine.fitting import load_exactly, refuse_gaps
from echozoo.engine.provenance import about_test
from echozoo.engine.safe_checkpoints import load_from_file
from echozoo.engine.schedules import ResumedSchedule
from echozoo.errors import CheckpointError
from echozoo.models.checkpoints import initialise
from echozoo.models.passes.sync_batch_norm import synchronise
from echozoo.registry import RUNNERS
from echozoo.whole_files import written_whole

# What a message has near its beginning that a user reads in the log file, if at all.
_FILE_ONLY = (
    "System environment:",
    "Config:\n",
    "Distributed training is not used",
    "Exp name:",
    "Hooks will be executed",
    "is skipped since its requires_grad",
    "paramwise_options",
    "backend_args` is None",
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    "Auto resumed from",
)
# A metric of one structure, in the line that ends an epoch: the report and the file have it.
_DETAIL = re.compile(r"  \w+/\w+/\w+: \S+")


class _ScreenFormatter(logging.Formatter):
    """Time and message; of the metrics only the means."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s  %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return _DETAIL.sub("", text) if record.getMessage().startswith("Epoch(") else text


def _for_screen(record: logging.LogRecord) -> bool:
    message = record.getMessage()[:200]
    return record.levelno >= logging.ERROR or not any(part in message for part in _FILE_ONLY)


def _raise(record: logging.LogRecord) -> None:
    """Let a log that cannot be written end the run: logging would print a traceback a line."""
    raise  # noqa: PLE0704  (called by logging where it has caught the error)


@RUNNERS.register_module()
class QuietRunner(Runner):
    """Runner whose environment, config and hook dumps go to the log file only.

    Checkpoints are read without running code from them, and all weights have to be there:
    mmengine would log what is missing as a warning, and go on with random weights.
    """

    _only_tests = False
    _loaded: dict[str, Any] | None = None

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build mmengine's logger and tidy what it shows on the screen."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _raise
            else:
                handler.addFilter(_for_screen)
                handler.setFormatter(_ScreenFormatter())
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap a model for several processes, if it trains: torch wraps no other.

        Batch norms are those of all processes, unless the config's ``sync_bn`` says how.
        """
        if any(p.requires_grad for p in model.parameters()):
            if self.distributed and self.cfg.get("sync_bn") is None:
                model = synchronise(model.to(get_device()))
            return super().wrap_model(model_wrapper_cfg, model)
        return model.to(get_device())

    def _init_model_weights(self) -> None:
        """Leave a resumed run to its checkpoint: what it started from need not be there now."""
        if not self._resume:
            super()._init_model_weights()

    def test(self) -> dict[str, float]:
        """Test the model, all of whose weights must come from the checkpoint."""
        self._only_tests = True
        return super().test()

    def resume(self, filename: str, *args, **kwargs) -> None:
        """Go on from a checkpoint's place, weights and moments by this config's schedule.

        Raises:
            CheckpointError: It does not fit the model or the optimiser.
        """
        schedule = ResumedSchedule(self)
        try:
            super().resume(filename, *args, **kwargs)
            schedule.apply()
        except (KeyError, ValueError) as error:  # torch's too, of parameters and their moments
            raise CheckpointError(
                f"{filename}: what trained is not what trains now ({error}); give the config that "
                "it was trained with, or start from its weights: --cfg-options load_from=FILE"
            ) from error

    def save_checkpoint(self, *args, meta: dict | None = None, **kwargs) -> None:
        """Save a checkpoint that tells by which command it was trained."""
        meta = {**(meta or {}), "command": command_line()}
        super().save_checkpoint(*args, meta=meta, **kwargs)

    def dump_config(self) -> None:
        """Write nothing yet: mmengine calls this before it is known that the weights fit."""

    def load_or_resume(self) -> None:
        """Load or resume; where that has gone well, keep the config.

        A training's config is that of its folder; a test leaves it as it is.
        """
        super().load_or_resume()
        if self._only_tests:
            about = about_test(self, self._loaded)
            for metric in self.test_evaluator.metrics:
                metric.about = about  # for its files, where it writes some
        tests_a_run = self._only_tests and run_folder.find_checkpoint(self.work_dir, best=False)
        if is_main_process():
            name = Path(self.cfg.filename or self.timestamp).with_suffix(".py").name
            with written_whole(Path(self.log_dir if tests_a_run else self.work_dir, name)) as part:
                part.write_text(Config(self.cfg.to_dict()).pretty_text, encoding="utf-8")

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | torch.device | Callable = "cpu",
        strict: bool = True,
        revise_keys: list | None = None,
    ) -> dict[str, Any]:
        """Load a run's checkpoint, or weights under their published names.

        Args:
            filename: A checkpoint of a run, or a file that ``model.pretrained`` would take.
            map_location: As for ``torch.load``.
            strict: Not used: weights always have to fit.
            revise_keys: Not used.

        Raises:
            CheckpointError: The file is refused, does not fit the model, or has no training state
                where a run is to be resumed from it.
        """
        checkpoint = load_from_file(filename, map_location)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if "meta" in checkpoint:
            self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
            load_exactly(model, checkpoint["state_dict"], filename)
        elif self._resume:
            raise CheckpointError(
                f"{filename}: holds weights and no training state, so there is nothing to resume; "
                "start from it with --cfg-options load_from=FILE"
            )
        else:
            report = initialise(model, str(filename))
            if self._only_tests:
                refuse_gaps(report)
            # A moving average, which is tested in place of the weights, starts from these.
            weights = {"state_dict": model.state_dict(), "meta": {}}
            self.call_hook("after_load_checkpoint", checkpoint=weights)
        self._has_loaded, self._loaded = True, {"meta": checkpoint.get("meta")}
        self.logger.info(f"Weights from {filename}")
        return checkpoint
