"""From a command line to a Runner: what echozoo train and echozoo test share."""

from __future__ import annotations

import argparse
import itertools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from echozoo.engine import safe_checkpoints  # noqa: F401 (in force once it is imported)
from echozoo.engine.config_options import accepts, check_options
from echozoo.engine.distributed import prepare_processes
from echozoo.engine.scales import load_scaled
from echozoo.engine.schedules import follow_length, training_length
from echozoo.errors import ConfigError
from echozoo.notices import notice
from echozoo.postprocessing import Postprocessing
from echozoo.registry import DATASETS, METRICS, RUNNERS

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
# Keys that differ between train, val and test.
_ONE_SUBSET_EACH = ("subset", "test_mode", "pipeline", "type")
_run_number = itertools.count()


def read_config(args: argparse.Namespace, needs_data: bool = True) -> Config:
    """Load the config that the command line names and apply the options to it.

    Later ones win: the values of the file that declares the scale, ``--scale``, the values of
    files that inherit from it, ``--data-root``, ``--dataset``, ``--cfg-options``.

    Args:
        args: Parsed arguments with ``config`` and those of `add_options`.
        needs_data: Whether data sets must know their folder.

    Raises:
        ConfigError: The file, a key or a value is wrong.
    """
    cfg = load_scaled(args.config, args.scale)
    cfg.launcher = args.launcher
    run_name = "_".join(filter(None, (Path(args.config).stem, args.scale)))
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{run_name}"
    if args.seed is not None:
        cfg.randomness = dict(cfg.get("randomness") or {}, seed=args.seed)
    if args.amp:
        use_mixed_precision(cfg, args.amp)
    set_data(cfg, args.data_root or os.environ.get("CAMUS_ROOT"), args.dataset)
    set_options(cfg, args.cfg_options)
    _check_counts(cfg, args.config)
    if needs_data:
        _check_data_root(cfg, args.config)
    return cfg


def _check_counts(cfg: Config, path: str) -> None:
    counts = [("train_cfg", key) for key in ("max_epochs", "max_iters", "val_interval")]
    for part, key in counts + [(loader, "batch_size") for loader in LOADERS]:
        value = (cfg.get(part) or {}).get(key)
        if value is not None and value < 1:
            raise ConfigError(f"{path}: {part}.{key} is {value}, wanted 1 or more")


def set_options(cfg: Config, values: dict[str, Any]) -> None:
    """Set keys of a config as ``--cfg-options`` does.

    Raises:
        ConfigError: A key or a value is wrong.
    """
    check_options(cfg._cfg_dict, values, "--cfg-options")
    length = training_length(cfg)
    try:
        cfg.merge_from_dict(values)
    except (TypeError, KeyError, IndexError) as error:
        raise ConfigError(f"--cfg-options: {' '.join(str(error).split())}") from error
    if not any(key.startswith("param_scheduler") for key in values):
        for line in follow_length(cfg, length):
            notice(line)


def set_data(cfg: Config, data_root: str | None, values: dict[str, Any]) -> None:
    """Set the folder of all data sets that have one, and further keys of all of them.

    Args:
        cfg: The config to change.
        data_root: The data set's folder; None leaves the config's own. Where several kinds of
            data are joined, it is that of the first kind, and the others keep theirs.
        values: Keys and values that train, val and test share.

    Raises:
        ConfigError: A key belongs to one subset only, or no data set takes it.
    """
    for key in _ONE_SUBSET_EACH:
        if key in values:
            raise ConfigError(
                f"--dataset {key}={values[key]}: train, val and test differ in it; set one of them "
                f"by --cfg-options test_dataloader.dataset.{key}=..."
            )
    for name in LOADERS:
        found = [*leaves((cfg.get(name) or {}).get("dataset"))]
        for dataset in found:
            named = dataset.get("data_root") and dataset.get("type") != found[0].get("type")
            if data_root and not named and accepts(dataset, "data_root", DATASETS):
                dataset["data_root"] = data_root
            check_options(dataset, values, "--dataset")
            dataset.update(values)


def leaves(dataset: Any) -> Iterator[dict]:
    """Yield the data sets inside wrappers that repeat, join or cut them.

    Args:
        dataset: The config of a data set; anything else yields nothing.
    """
    if not isinstance(dataset, dict):
        return
    inner = [dataset.get("dataset"), *(dataset.get("datasets") or [])]
    if any(inner):
        for one in inner:
            yield from leaves(one)
    else:
        yield dataset


def _check_data_root(cfg: Config, path: str) -> None:
    for name in LOADERS:
        for dataset in leaves((cfg.get(name) or {}).get("dataset")):
            if "data_root" in dataset and dataset["data_root"] is None:
                raise ConfigError(
                    f"{path}: no data: give --data-root FOLDER or set CAMUS_ROOT "
                    "(generated data: echozoo phantom FOLDER)"
                )


def use_mixed_precision(cfg: Config, dtype: str) -> None:
    """Train and test in mixed precision.

    Args:
        cfg: The config to change.
        dtype: "bf16" (GPU or CPU) or "fp16" (GPU only, with a loss scale).

    Raises:
        ConfigError: fp16 without a GPU, or the config has an optimiser wrapper of its own.
    """
    gpu = torch.cuda.is_available()
    if dtype == "fp16" and not gpu:
        raise ConfigError("--amp fp16 needs a GPU and there is none; --amp bf16 runs on the CPU")
    if dtype == "bf16":
        torch.set_autocast_dtype("cuda" if gpu else "cpu", torch.bfloat16)
    if cfg.get("optim_wrapper"):
        kind = cfg.optim_wrapper.get("type", "OptimWrapper")
        if kind != "OptimWrapper":
            raise ConfigError(f"--amp: optim_wrapper is {kind}, wanted OptimWrapper; leave it out")
        cfg.optim_wrapper.type = "BFloat16OptimWrapper" if dtype == "bf16" else "AmpOptimWrapper"
    if cfg.get("test_cfg") is not None:
        cfg.test_cfg.fp16 = True  # mmengine's word for autocast of either kind


def forget_pretrained(cfg: Config) -> None:
    """Let the model begin with random weights, or with those of a checkpoint."""
    if cfg.model.get("pretrained") is not None:
        cfg.model.pretrained = None


def collect_results(cfg: Config) -> None:
    """Let the metrics of the test write their tables into the work folder.

    Args:
        cfg: The config to change; metrics that take no ``out_dir`` are left alone.
    """
    evaluator = cfg.get("test_evaluator") or []
    for metric in [evaluator] if isinstance(evaluator, dict) else evaluator:
        if accepts(metric, "out_dir", METRICS):
            metric["out_dir"] = cfg.work_dir


def overlap_clips(cfg: Config) -> None:
    """Let the clips of a test overlap as far as its model smooths logits over time, as in use.

    Where it smooths whole films, these are its samples.

    Args:
        cfg: The config to change; data sets that do not take what they get are left alone.
    """
    chain = Postprocessing(cfg.model.get("postprocessing") or ())
    reach = chain.reach
    for dataset in leaves((cfg.get("test_dataloader") or {}).get("dataset")):
        if reach != 0 and accepts(dataset, "reach", DATASETS):
            dataset["reach"] = reach
        if chain.film_steps and accepts(dataset, "whole_films", DATASETS):
            dataset["whole_films"] = True


def build_runner(cfg: Config, fast_cpu: bool = True) -> Runner:
    """Build the Runner of a config, for one process or several, with or without a GPU.

    Args:
        cfg: A config of `read_config`.
        fast_cpu: Whether layers are computed in the CPU's own way, where the model is on one.

    Returns:
        The Runner, ready for ``train()`` or ``test()``.
    """
    prepare_processes(cfg)
    # torch's new name for what mmengine asks for, which mmengine's users cannot change; and a
    # remark on the layout of the gradients of 1 x 1 convolutions, which costs nothing.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # Runners that start in the same second would share logs and best scores under one name.
    name = cfg.get("experiment_name") or Path(cfg.filename or "run").stem
    cfg.experiment_name = f"{name}-{os.getpid()}-{next(_run_number)}"
    cfg.setdefault("runner_type", "QuietRunner")
    # Its text goes into the log and each checkpoint; laying it out for readers takes half a second,
    # and is left to the file that the runner keeps.
    plain = Config(cfg._cfg_dict, cfg.text, cfg.filename, format_python_code=False)
    runner = RUNNERS.build(plain)
    if fast_cpu:
        from echozoo.models.passes.fast_cpu import use_fast_cpu

        use_fast_cpu(runner.model)
    return runner
