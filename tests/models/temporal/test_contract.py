"""What every registered temporal module keeps, whatever is in it."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from echozoo.registry import TEMPORAL_MODULES

DIMS = 12
TEMPORAL_MODULES.import_from_location()
NAMES = sorted(
    name
    for name, part in TEMPORAL_MODULES.module_dict.items()
    if part.__module__.startswith("echozoo.")
)
everyone = pytest.mark.parametrize("name", NAMES)
AWAKE_FROM_THE_START = {"MASAM3DAdapter"}  # as published


def build(name: str) -> nn.Module:
    return TEMPORAL_MODULES.build(dict(type=name, embed_dims=DIMS))


def awake(name: str) -> nn.Module:
    """A module none of whose weights are zero, and whose statistics stand still."""
    module = build(name).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def reach(module: nn.Module, frame: int, num_frames: int) -> list[int]:
    """Frames that a frame may see: those of the kernel, or all where there is none."""
    kernel = inspect.signature(type(module)).parameters.get("kernel_size")
    frames = range(num_frames)
    return [f for f in frames if kernel is None or abs(f - frame) <= kernel.default // 2]


def test_all_are_here():
    assert {"TRA", "STAdapter", "TempAtt"} <= set(NAMES)


@pytest.mark.parametrize("name", sorted({*NAMES} - AWAKE_FROM_THE_START))
@pytest.mark.parametrize("training", [True, False])
def test_identity_at_the_start(name, training):
    x = torch.randn(6, 4, 5, DIMS)
    assert torch.equal(build(name).train(training)(x, num_frames=3), x)


@everyone
@pytest.mark.parametrize("num_frames", [1, 3, 8, 16])
@torch.no_grad()
def test_any_number_of_frames(name, num_frames):
    x = torch.randn(2 * num_frames, 3, 2, DIMS)
    out = awake(name)(x, num_frames=num_frames)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert not torch.allclose(out, x)


@everyone
@torch.no_grad()
def test_single_images_are_clips_of_one_frame(name):
    module = awake(name)
    x = torch.randn(3, 3, 2, DIMS)
    alone = [module(image[None], num_frames=1) for image in x]
    torch.testing.assert_close(module(x, num_frames=1), torch.cat(alone))


@everyone
@torch.no_grad()
def test_clips_do_not_mix(name):
    module = awake(name)
    x = torch.randn(6, 3, 2, DIMS)
    alone = [module(clip, num_frames=3) for clip in x.split(3)]
    torch.testing.assert_close(module(x, num_frames=3), torch.cat(alone))


@everyone
@torch.no_grad()
def test_the_order_of_frames_matters(name):
    module = awake(name)
    x = torch.randn(4, 3, 2, DIMS)
    order = torch.tensor([2, 0, 3, 1])
    permuted = module(x[order], num_frames=4)
    assert not torch.allclose(permuted, module(x, num_frames=4)[order], atol=1e-3)


@everyone
@pytest.mark.parametrize("frame", [0, 3, 6])
def test_which_frames_a_frame_sees(name, frame):
    module = awake(name)
    x = torch.randn(14, 2, 2, DIMS, requires_grad=True)  # two clips of 7
    module(x, num_frames=7)[7 + frame].square().sum().backward()
    reached = x.grad.flatten(1).abs().sum(1).nonzero().flatten().tolist()
    assert reached == [7 + other for other in reach(module, frame, 7)]


@everyone
def test_positions_do_not_mix(name):
    module = awake(name)
    x = torch.randn(3, 3, 4, DIMS, requires_grad=True)
    module(x, num_frames=3)[1, 2, 1].square().sum().backward()
    assert x.grad.abs().sum((0, 3)).nonzero().tolist() == [[2, 1]]


@everyone
def test_every_parameter_learns_once_away_from_the_start(name):
    module = build(name).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x, target = torch.randn(2, 8, 3, 2, DIMS)
    for _ in range(3):  # what lies behind two layers of zeros wakes in the second step
        optimizer.zero_grad()
        (module(x, num_frames=4) - target).square().mean().backward()
        optimizer.step()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad.abs().max() > 0, parameter_name


@everyone
def test_mixed_precision(name):
    module = awake(name)
    x = torch.randn(4, 3, 2, DIMS)
    wanted = module(x, num_frames=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(x, num_frames=2)
    assert (out - wanted).abs().max() < 0.05 * wanted.abs().max()
