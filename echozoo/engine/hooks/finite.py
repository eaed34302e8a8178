"""A training that has left the numbers stops, before it writes or praises anything."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from echozoo.errors import TrainingError
from echozoo.registry import HOOKS

_WHAT_TO_TRY = (
    "the checkpoints before are whole; try a lower rate (--cfg-options "
    "optim_wrapper.optimizer.lr=...), a limit of gradients (optim_wrapper.clip_grad.max_norm=1.0), "
    "or full precision (no --amp)"
)


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stop at the first loss that is NaN or infinite, and before such weights are saved.

    A last step may spoil the weights with no loss after it to tell, so the weights of every
    checkpoint are looked at: none that is not finite becomes the last or the best.
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Look at the losses.

        Args:
            runner: Its epoch and iteration are said, from 1.
            batch_idx: Not used.
            data_batch: Not used.
            outputs: Values by name, ``loss`` among them.

        Raises:
            TrainingError: The loss is not finite.
        """
        losses = {k: torch.as_tensor(v).item() for k, v in (outputs or {}).items() if "loss" in k}
        if math.isfinite(losses.get("loss", 0.0)):
            return
        parts = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        raise TrainingError(
            f"iteration {runner.iter + 1} (epoch {runner.epoch + 1}): found {parts}, wanted finite "
            f"numbers; {_WHAT_TO_TRY}"
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Look at the weights.

        Raises:
            TrainingError: A weight is not finite.
        """
        for name, weight in checkpoint["state_dict"].items():
            if weight.is_floating_point() and not torch.isfinite(weight).all():
                raise TrainingError(
                    f"epoch {runner.epoch + 1}, after {runner.iter} iterations: {name} is not "
                    f"finite, the checkpoint is not written; {_WHAT_TO_TRY}"
                )
