"""Batch norms over all processes, put on from outside; that they are right: tests/integration."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from echozoo.models.layers.norm import SyncBN
from echozoo.models.passes.sync_batch_norm import synchronise

KINDS = [{}, dict(affine=False), dict(momentum=None), dict(track_running_stats=False)]
ROWS = slice(0, 3), slice(3, None)  # the first process has fewer than the second


class Own(nn.BatchNorm2d):
    """Somebody's own, of which nobody knows what it does."""


def test_plain_batch_norms_change_their_class_and_nothing_else():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.SyncBatchNorm(2), Own(2))
    state = model.state_dict()
    seen = []
    model[1].register_forward_hook(lambda *_: seen.append(1))
    assert synchronise(model) is model
    assert [type(one) for one in model] == [nn.Conv2d, SyncBN, SyncBN, Own]
    assert model.state_dict().keys() == state.keys()
    model(torch.rand(2, 1, 3, 3))
    assert seen == [1]


def step(norm: nn.Module, rows: slice) -> tuple[torch.Tensor, ...]:
    """Output, gradient of the input, of the parameters, and state of a norm with scales 1 to 3."""
    generator = torch.Generator().manual_seed(2)
    x, weights = (torch.randn(8, 3, 4, 4, generator=generator)[rows] for _ in range(2))
    x = (2 * x + 3).requires_grad_()
    if norm.affine:
        nn.init.constant_(norm.bias, 1)
        norm.weight.data = torch.arange(1.0, 4.0)
    out = norm(x)
    (out * weights).sum().backward()
    return out.detach(), x.grad, [p.grad for p in norm.parameters()], norm.state_dict()


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    norms = [synchronise(nn.BatchNorm2d(3, **kind)) for kind in KINDS]
    torch.save([step(norm, ROWS[rank]) for norm in norms], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_norms_of_every_kind_are_those_of_one_process(tmp_path):
    mp.spawn(process, (str(tmp_path),), nprocs=2)
    several = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for kind, first, second in zip(KINDS, *several, strict=True):
        out, gradient, of_parameters, state = step(nn.BatchNorm2d(3, **kind), slice(None))
        torch.testing.assert_close(torch.cat([first[0], second[0]]), out)
        torch.testing.assert_close(torch.cat([first[1], second[1]]), gradient)
        sums = [a + b for a, b in zip(first[2], second[2], strict=True)]
        torch.testing.assert_close(sums, of_parameters)
        torch.testing.assert_close(first[3], state)
        torch.testing.assert_close(second[3], state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_they_are_torchs():
    model = synchronise(nn.Sequential(nn.BatchNorm2d(2), SyncBN(2)).cuda())
    assert [type(one) for one in model] == [nn.SyncBatchNorm] * 2
