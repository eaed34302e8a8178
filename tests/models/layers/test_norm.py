"""SyncBN: two processes equal one with the same global batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from echozoo.models.layers.norm import SyncBN

CHANNELS = 5
SPLIT = 6  # the first process has fewer rows than the second


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = 3 + 2 * torch.randn(16, CHANNELS, 2, generator=generator)
    return x, torch.randn(x.shape, generator=generator)


def step(norm: nn.Module, x: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    x = x.clone().requires_grad_()
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1, CHANNELS + 1))
    out = norm(x)
    (out * weights).sum().backward()
    return {
        "out": out.detach(),
        "input grad": x.grad,
        "weight grad": norm.weight.grad,
        "bias grad": norm.bias.grad,
        "running mean": norm.running_mean,
        "running var": norm.running_var,
    }


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    rows = slice(0, SPLIT) if rank == 0 else slice(SPLIT, None)
    x, weights = batch()
    torch.save(step(SyncBN(CHANNELS), x[rows], weights[rows]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path):
    mp.spawn(process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    whole = step(nn.BatchNorm1d(CHANNELS), *batch())
    for name in ("out", "input grad"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole[name])
    for name in ("weight grad", "bias grad"):
        torch.testing.assert_close(first[name] + second[name], whole[name])
    for name in ("running mean", "running var"):
        torch.testing.assert_close(first[name], whole[name])
        torch.testing.assert_close(second[name], whole[name])


@pytest.mark.parametrize("training", [True, False])
def test_one_process_is_plain_batch_norm(training):
    x, weights = batch()
    found = step(SyncBN(CHANNELS).train(training), x, weights)
    wanted = step(nn.BatchNorm1d(CHANNELS).train(training), x, weights)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)
