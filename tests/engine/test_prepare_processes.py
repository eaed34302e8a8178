from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from echozoo.engine.distributed import (
    launched_processes,
    launched_rank,
    prepare_processes,
    process_group,
)
from echozoo.errors import ConfigError

VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NODELIST"),
)


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_alone_there_is_nothing_to_do():
    cfg = Config(dict(launcher="none"))
    prepare_processes(cfg)
    assert "model_wrapper_cfg" not in cfg
    assert (launched_rank(), launched_processes()) == (0, 1)


def test_one_process_on_the_cpu_joins_with_gloo(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    started = []
    monkeypatch.setattr(torch.distributed, "init_process_group", started.append)
    environment = dict(RANK="1", WORLD_SIZE="4", MASTER_ADDR="localhost", MASTER_PORT="1")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cfg = Config(dict(launcher="pytorch", model_wrapper_cfg=dict(detect_anomalous_params=True)))
    prepare_processes(cfg)
    assert started == ["gloo"]
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.type == "MMDistributedDataParallel"
    assert cfg.model_wrapper_cfg.detect_anomalous_params
    assert (launched_rank(), launched_processes()) == (1, 4)


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        ("pytorch", "RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set in the environment"),
        ("slurm", "not inside a Slurm job; use tools/slurm_train.sh"),
    ],
)
def test_started_by_hand(monkeypatch, launcher, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        prepare_processes(Config(dict(launcher=launcher)))


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cfg = Config(dict(launcher="pytorch"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    prepare_processes(cfg)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"more processes than the 2 GPU\(s\)"):
        prepare_processes(cfg)


def group_threads() -> int:
    threads = Path("/proc/self/task").glob("*/comm")
    return sum("gloo" in thread.read_text() for thread in threads)


def join(folder: Path) -> None:
    store = torch.distributed.FileStore(str(folder / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted on Linux")
def test_a_group_is_left_with_its_threads(tmp_path):
    with process_group():
        join(tmp_path)
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
        model.runner = [model]  # refers to itself, as a Runner does
        del model
        assert group_threads() > 0
    assert not torch.distributed.is_initialized()
    assert group_threads() == 0


def test_after_an_error_nobody_is_waited_for(tmp_path):
    join(tmp_path)
    with pytest.raises(KeyError), process_group():
        raise KeyError
    assert torch.distributed.is_initialized()
    torch.distributed.destroy_process_group()


def test_no_group_is_nothing_to_leave():
    with process_group():
        pass
