"""A user's own folder: one file of parts and one config, nothing else touched."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.registry import Registry
from mmengine.runner import Runner

from echozoo import registry
from echozoo.engine import launch

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OWN = "own_part"


class Trained(NamedTuple):
    """What became of a config that was trained for one epoch and tested.

    Attributes:
        runner: With the model and the loaders.
        changed: Names of the parameters that training changed.
        metrics: Of the test.
        folder: The run's, with config and checkpoint.
    """

    runner: Runner
    changed: set[str]
    metrics: dict[str, float]
    folder: Path


@pytest.fixture
def trained(tmp_path: Path, phantom: Path) -> Iterator[Callable[..., Trained]]:
    """Trains a config on top of one of the zoo's, with a file of parts beside it, and tests it."""

    def train(
        base: str,
        part: str,
        config: str,
        scale: str | None = "tiny",
        data: Path = phantom,
        **dataset,
    ) -> Trained:
        (tmp_path / f"{OWN}.py").write_text(part)
        path, folder = tmp_path / "own.py", tmp_path / "run"
        imports = f"custom_imports = dict(imports=[{OWN!r}])\n"
        path.write_text(f"_base_ = {str(CONFIGS / base)!r}\n{imports}{config}\n")
        options = {"train_cfg.max_epochs": 1, "train_cfg.val_interval": 1}
        options |= {"train_dataloader.batch_size": 1}
        for loader in launch.LOADERS:
            options |= {f"{loader}.num_workers": 0, f"{loader}.persistent_workers": False}
        dataset = dict(indices=2, clip_length=2, split="ratio") | dataset
        args = Namespace(config=str(path), scale=scale, data_root=str(data), dataset=dataset)
        vars(args).update(cfg_options=options, work_dir=str(folder), launcher="none")
        cfg = launch.read_config(Namespace(**vars(args), amp=None, seed=0))
        launch.forget_pretrained(cfg)
        launch.collect_results(cfg)
        runner = launch.build_runner(cfg)
        before = {name: value.clone() for name, value in runner.model.named_parameters()}
        runner.train()
        after = dict(runner.model.named_parameters())
        changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
        return Trained(runner, changed, runner.test(), folder)

    yield train
    for kind in vars(registry).values():
        if isinstance(kind, Registry):
            for name in [n for n, part in kind.module_dict.items() if part.__module__ == OWN]:
                del kind.module_dict[name]
    sys.modules.pop(OWN, None)
    sys.path[:] = [folder for folder in sys.path if folder != str(tmp_path)]
