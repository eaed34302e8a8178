"""Several processes, also without a GPU, which mmengine's own start does not allow for."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
from collections.abc import Iterator

import torch
import torch.distributed as dist
from mmengine.config import Config

from echozoo.errors import ConfigError


def launched_rank() -> int:
    """Return this process's number as its launcher gave it, before any process group exists."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def launched_processes() -> int:
    """Return how many processes the launcher has started."""
    return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))


def prepare_processes(cfg: Config) -> None:
    """Join the process group with gloo where there is no GPU, and let the model be wrapped for it.

    mmengine asks for a CUDA device in both places. Where there are GPUs, mmengine starts the
    processes, one a GPU; where ``cfg.launcher`` is "none" there is nothing to do.

    Args:
        cfg: The config to run; its ``model_wrapper_cfg`` is set.

    Raises:
        ConfigError: The launcher's environment variables are absent, or there are fewer GPUs than
            processes.
    """
    if cfg.launcher == "none":
        return
    if torch.cuda.is_available():
        _check_gpu_for_process()
        return
    join_processes(cfg.launcher)
    wrapper = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    wrapper.update(cfg.get("model_wrapper_cfg") or {})
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def join_processes(launcher: str) -> None:
    """Join the processes that a launcher has started, by gloo.

    Args:
        launcher: "pytorch" or "slurm".

    Raises:
        ConfigError: The launcher's environment variables are absent.
    """
    if launcher == "slurm":
        _environment_from_slurm()
    absent = [
        k for k in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if k not in os.environ
    ]
    if absent:
        raise ConfigError(
            f"--launcher {launcher}: {', '.join(absent)} not set in the environment; "
            "start through tools/dist_train.sh, dist_test.sh, dist_infer.sh or slurm_train.sh"
        )
    if not dist.is_initialized():
        dist.init_process_group("gloo")


def own_device() -> str | None:
    """The GPU of this process, None where there is none."""
    number = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{number}" if torch.cuda.is_available() else None


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Leave the process group in the end, where the code below has joined one and done its work.

    A thread of the group that still runs while Python ends aborts the process, now and then, after
    all its work is done. After an error nothing is done: other processes may be waited for in vain.
    """
    yield
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # a Runner refers to itself, and its wrapped model would keep the threads
        dist.destroy_process_group()


def _check_gpu_for_process() -> None:
    number = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
    gpus = torch.cuda.device_count()
    if number >= gpus:
        raise ConfigError(
            f"more processes than the {gpus} GPU(s) of this machine; start {gpus}, or hide the "
            "GPUs to run on the CPU: CUDA_VISIBLE_DEVICES="
        )


def _environment_from_slurm() -> None:
    if "SLURM_PROCID" not in os.environ:
        raise ConfigError("--launcher slurm: not inside a Slurm job; use tools/slurm_train.sh")
    os.environ.setdefault("RANK", os.environ["SLURM_PROCID"])
    os.environ.setdefault("WORLD_SIZE", os.environ["SLURM_NTASKS"])
    os.environ.setdefault("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
    os.environ.setdefault("MASTER_PORT", "29500")
    if "MASTER_ADDR" not in os.environ:
        command = ["scontrol", "show", "hostnames", os.environ["SLURM_NODELIST"]]
        hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        os.environ["MASTER_ADDR"] = hosts.split()[0]
