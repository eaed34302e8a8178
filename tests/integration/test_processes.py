"""One, two and three processes train the same weights from the same global batch."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch.nn.modules.dropout import _DropoutNd
from warm import warm_context

from echozoo.engine import launch
from echozoo.engine.config_file import load_config
from echozoo.options import add_run_options
from echozoo.phantom import PhantomOptions, write_phantom

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BATCH = 6  # clips of a step of all processes together
# Batch norms of mmseg's and of our own, adapters and a temporal module.
SOME = ("unet", "samus_tra")
# Prompts, codes and updates that a network draws while it trains are each process's own.
DRAWN = {"lite_medsam_auto", "memsam", "memsam_echonet", "sam_med2d", "shape_code"}


def train(rank: int, processes: int, port: int, name: str, data: str, folder: str) -> None:
    """Train a config for two steps; the first process keeps the weights."""
    torch.set_num_threads(1)
    _compute_in_float64()
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes))
    os.environ.update(CUDA_VISIBLE_DEVICES="")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    add_run_options(parser)
    os.environ["ECHONET_ROOT"] = f"{data}/echonet"
    layout = "echonet" if name.endswith("_echonet") else "camus"
    options = f"--scale tiny --data-root {data}/{layout} --work-dir {folder}/{processes}"
    options += f" --dataset clip_length=2 --launcher {'pytorch' if processes > 1 else 'none'}"
    options += f" --cfg-options train_dataloader.batch_size={BATCH // processes}"
    options += " train_dataloader.num_batch_per_epoch=1 train_dataloader.num_workers=0"
    options += " train_dataloader.persistent_workers=False train_cfg.max_epochs=2"
    options += " val_dataloader=None val_cfg=None val_evaluator=None default_hooks.checkpoint=None"
    cfg = launch.read_config(parser.parse_args([str(CONFIGS / f"{name}.py"), *options.split()]))
    launch.forget_pretrained(cfg)
    cfg.custom_hooks = [dict(type="EpochSeedHook")]
    cfg.param_scheduler = []  # whose warm-up would leave the weights where they were
    runner = launch.build_runner(cfg, fast_cpu=False)
    for module in runner.model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0  # what is dropped is each process's own, too
    model = runner.train()
    if rank == 0:
        torch.save(getattr(model, "module", model).state_dict(), f"{folder}/{processes}.pt")


def _compute_in_float64() -> None:
    """Let rounding out: in float32 the order of a sum alone moves some gradients by a tenth."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    encode = PositionEmbeddingRandom._pe_encoding  # SAM's coordinates are float32 at any default
    PositionEmbeddingRandom._pe_encoding = lambda self, coords: encode(self, coords.double())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = SOME
    if metafunc.config.getoption("--every-config"):  # that has weights and a tiny scale
        found = {path.stem: load_config(path).get("scales") or {} for path in CONFIGS.glob("*.py")}
        without = {"stored", *DRAWN}
        names = sorted(name for name in found if "tiny" in found[name] and name not in without)
    metafunc.parametrize("name", names)


@pytest.fixture(scope="module")
def data(tmp_path_factory, request) -> Path:
    root = tmp_path_factory.mktemp("processes")
    patients = {"camus": 6, "echonet": 9}  # which has one film each, so that a step's are there
    for layout in patients if request.config.getoption("--every-config") else ["camus"]:
        options = PhantomOptions(patients[layout], 0, 1.5, (3, 4), layout=layout)
        write_phantom(root / layout, options)
    return root


@pytest.mark.slow
def test_processes_train_the_same_weights(name, data, tmp_path):
    warm_context()
    for processes in (1, 2, 3):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = (processes, port, name, str(data), str(tmp_path))
        mp.start_processes(train, arguments, processes, start_method="forkserver")
    one, *others = (torch.load(tmp_path / f"{processes}.pt") for processes in (1, 2, 3))
    for several in others:
        for key, value in one.items():
            difference = (several[key].double() - value.double()).abs()
            assert difference.numel() == 0 or difference.max() <= 1e-5, key
