"""One, two and three processes train the same weights from the same global batch."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from echozoo.engine import launch
from echozoo.engine.config_file import load_config
from echozoo.phantom import PhantomOptions, write_phantom

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BATCH = 6  # clips of a step of all processes together
# Batch norms of mmseg's and of our own, adapters and a temporal module.
SOME = ("unet", "samus_tra")


def train(rank: int, processes: int, port: int, names: list[str], data: str, folder: str) -> None:
    """Train each config for two steps; the first process keeps the weights."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    launch.add_options(parser)
    for name in names:
        options = f"--scale tiny --data-root {data} --work-dir {folder}/{processes}/{name}"
        options += f" --dataset clip_length=2 --launcher {'pytorch' if processes > 1 else 'none'}"
        options += f" --cfg-options train_dataloader.batch_size={BATCH // processes}"
        options += " train_dataloader.num_batch_per_epoch=1 train_dataloader.num_workers=0"
        options += " train_dataloader.persistent_workers=False train_cfg.max_epochs=2"
        options += " val_dataloader=None val_cfg=None val_evaluator=None"
        options += " default_hooks.checkpoint=None"
        cfg = launch.read_config(parser.parse_args([str(CONFIGS / f"{name}.py"), *options.split()]))
        launch.forget_pretrained(cfg)
        cfg.custom_hooks = [dict(type="EpochSeedHook")]
        # Adam's first steps have one length, be a gradient large or the rounding of a zero.
        cfg.optim_wrapper.optimizer = dict(type="SGD", lr=0.05, momentum=0.9)
        cfg.param_scheduler = []
        model = launch.build_runner(cfg).train()
        if rank == 0:
            weights = getattr(model, "module", model).state_dict()
            torch.save(weights, f"{folder}/{name}_{processes}.pt")


def configs(config: pytest.Config) -> list[str]:
    """Names of the configs to train: of every one that has a tiny scale where that is asked for."""
    if not config.getoption("--every-config"):
        return list(SOME)
    found = {path.stem: load_config(path).get("scales") or {} for path in CONFIGS.glob("*.py")}
    return sorted(name for name, scales in found.items() if "tiny" in scales)


@pytest.fixture(scope="module")
def weights(request, tmp_path_factory):
    """Weights by name of config and number of processes."""
    folder = tmp_path_factory.mktemp("processes")
    data = folder / "data"
    write_phantom(data, PhantomOptions(patients=6, seed=0, spacing=1.5, frames=(3, 4)), processes=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        for processes in (1, 2, 3):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            arguments = (processes, port, configs(request.config), str(data), str(folder))
            mp.spawn(train, arguments, nprocs=processes)
    return lambda name, processes: torch.load(folder / f"{name}_{processes}.pt")


def pytest_generate_tests(metafunc):
    metafunc.parametrize("name", configs(metafunc.config))


@pytest.mark.slow
def test_processes_train_the_same_weights(name, weights):
    one = weights(name, 1)
    for processes in (2, 3):
        several = weights(name, processes)
        for key, value in one.items():
            difference = (several[key].double() - value.double()).abs()
            assert difference.numel() == 0 or difference.max() <= 1e-5, (key, processes)
