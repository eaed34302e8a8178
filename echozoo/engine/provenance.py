"""Where numbers come from: the code, the machine, the weights, the command that trained them."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner

from echozoo.models import contracts
from echozoo.models.weight_files import file_sha256

_REPOSITORY = Path(__file__).resolve().parents[2]


def about_test(runner: Runner, checkpoint: Mapping[str, Any] | None) -> dict[str, Any]:
    """Say what a test's numbers are of, beside its config and its own command.

    Args:
        runner: With the model that is tested, and the file that its weights are from as its
            config's ``load_from``.
        checkpoint: That file's content; None for a model without weights.

    Returns:
        ``sees`` ("frame" or "clip"), ``seed``, ``commit``, ``hardware``, ``processes``,
        ``checkpoint`` and its ``checkpoint_sha256`` (several of an average), ``train_command``;
        None for what is not known.
    """
    model, cfg = runner.model, runner.cfg
    files = [cfg.load_from] if cfg.get("load_from") else []
    members = (cfg.get("model") or {}).get("members") or ()  # of an average
    files += [member["weights"] for member in members]
    meta = (checkpoint or {}).get("meta") or {}
    return {
        "sees": contracts.sees(getattr(model, "module", model)),
        "seed": runner.seed,
        "commit": commit(),
        "hardware": machine(),
        "processes": runner.world_size,
        "checkpoint": " + ".join(map(str, files)) or None,
        "checkpoint_sha256": " + ".join(map(file_sha256, files)) or None,
        "train_command": meta.get("command"),
    }


def machine() -> str:
    """Name the hardware that torch runs on: the first GPU, or the CPU and its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    cores = os.cpu_count() or 1
    return f"{cpu_name()}, {cores} core{'s' if cores > 1 else ''}"


def cpu_name() -> str:
    """Name the processor."""
    try:  # Linux: platform.processor() names the architecture at most
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """Name the commit of the code, where it is a git checkout; with ``-dirty`` after changes."""
    command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
