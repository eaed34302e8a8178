"""Batch norms over all processes, put on from outside; that they are right: tests/integration."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from echozoo.models.layers.norm import SyncBN
from echozoo.models.passes.sync_batch_norm import synchronise

KINDS = [dict(affine=False), dict(momentum=None), dict(track_running_stats=False)]


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


def rows(rank: int, processes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(8, 3, 4, 4, generator=generator)[rank::processes] + 2


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    norms = [synchronise(nn.BatchNorm2d(3, **kind)) for kind in KINDS]
    torch.save([(norm(rows(rank, 2)), norm.state_dict()) for norm in norms], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_norms_of_every_kind_are_those_of_one_process(tmp_path):
    mp.spawn(process, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        several = torch.load(tmp_path / f"{rank}.pt")
        for kind, (out, state) in zip(KINDS, several, strict=True):
            norm = nn.BatchNorm2d(3, **kind)
            torch.testing.assert_close(out, norm(rows(0, 1))[rank::2])
            torch.testing.assert_close(state, norm.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_they_are_torchs():
    model = synchronise(nn.Sequential(nn.BatchNorm2d(2), SyncBN(2)).cuda())
    assert [type(one) for one in model] == [nn.SyncBatchNorm] * 2
