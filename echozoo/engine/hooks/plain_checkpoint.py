"""Checkpoints made of plain values, so that they can be read without running code."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import Tensor

from echozoo.errors import CheckpointError
from echozoo.registry import HOOKS

_HISTORY = ("log_history", "count_history", "max_length")
_PLAIN_TYPES = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    Tensor,
    torch.dtype,
    torch.device,
)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Write training checkpoints that ``torch.load(weights_only=True)`` reads, and resume them.

    mmengine keeps the history of each logged value in an object, which only a full (and so unsafe)
    unpickling restores. Before saving, this hook turns histories, numpy values and config
    dictionaries into plain dicts, lists, numbers and tensors; after loading, it makes histories
    again of what were histories.

    It runs after every other hook of its stage, so that what they add is made plain too.
    """

    priority = "LOWEST"

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make everything but the weights plain, in place.

        Raises:
            CheckpointError: There is an object that no plain value stands for.
        """
        for key, value in checkpoint.items():
            if key != "state_dict":
                checkpoint[key] = _plain(value, key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make histories of what were histories, in place.

        Args:
            runner: Not used.
            checkpoint: What was loaded; one without a message hub (weights alone) is left as it is.
        """
        scalars = checkpoint.get("message_hub", {}).get("log_scalars", {})
        for key, value in scalars.items():
            if isinstance(value, dict) and set(value) == set(_HISTORY):
                log, count, max_length = (value[name] for name in _HISTORY)
                scalars[key] = HistoryBuffer(log.cpu().numpy(), count.cpu().numpy(), max_length)


def _plain(value: Any, place: str) -> Any:
    if type(value) in _PLAIN_TYPES or isinstance(value, Tensor):
        return value
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        history = (torch.from_numpy(log.copy()), torch.from_numpy(count.copy()), value.max_length)
        return dict(zip(_HISTORY, history, strict=True))
    if isinstance(value, np.generic):
        return _plain(value.item(), place)
    if isinstance(value, np.ndarray):
        numeric = value.dtype.kind in "biufc"
        return torch.from_numpy(value.copy()) if numeric else _plain(value.tolist(), place)
    if isinstance(value, Mapping):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        # A scheduler keeps functions among its values, and makes them anew when it is built.
        entries = ((k, v) for k, v in value.items() if not inspect.isroutine(v))
        return kind((_plain(k, place), _plain(v, f"{place}.{k}")) for k, v in entries)
    for kinds, make in ((list, list), (tuple, tuple), ((set, frozenset), set)):
        if isinstance(value, kinds):
            return make(_plain(v, f"{place}.{i}") for i, v in enumerate(value))
    raise CheckpointError(
        f"the checkpoint's entry {place} is of type {type(value).__name__}, which can only be read "
        "by running code: keep plain values, lists, dicts or tensors there"
    )
