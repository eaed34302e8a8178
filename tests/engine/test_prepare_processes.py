from __future__ import annotations

import contextlib

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


@pytest.mark.parametrize("error", [None, KeyError])
def test_a_group_that_was_joined_is_left(tmp_path, error):
    with pytest.raises(error) if error else contextlib.nullcontext(), process_group():
        torch.distributed.init_process_group(
            "gloo",
            store=torch.distributed.FileStore(str(tmp_path / "store"), 1),
            rank=0,
            world_size=1,
        )
        if error:
            raise error
    assert not torch.distributed.is_initialized()


def test_no_group_is_nothing_to_leave():
    with process_group():
        pass
