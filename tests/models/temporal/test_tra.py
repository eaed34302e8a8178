"""TRA: identity at the start, one frame, how far and in which order frames reach."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echozoo.models.temporal.tra import TRA
from echozoo.registry import TEMPORAL_MODULES


def awake(**sizes) -> TRA:
    module = TRA(embed_dims=6, **sizes).eval()
    nn.init.normal_(module.expand.weight)
    return module


def test_published_size():
    module = TEMPORAL_MODULES.build(dict(type="TRA", embed_dims=768))
    assert sum(parameter.numel() for parameter in module.parameters()) == 791_296


@pytest.mark.parametrize("training", [True, False])
def test_identity_at_the_start(training):
    x = torch.randn(6, 4, 5, 6)
    assert torch.equal(TRA(6).train(training)(x, num_frames=3), x)


def test_equals_the_formula():
    module = awake()
    nn.init.normal_(module.norm.running_mean)
    x = torch.randn(6, 4, 5, 6)
    clips = x.view(2, 3, 4, 5, 6).permute(0, 4, 1, 2, 3)  # B, C, T, H, W
    wanted = nn.functional.batch_norm(
        clips, module.norm.running_mean, module.norm.running_var, eps=1e-5
    )
    for layer in (module.reduce, module.mix, module.expand):
        kernel = layer.weight
        kernel = kernel[..., None] if kernel.dim() == 4 else kernel[..., None, None, None]
        groups = 4 if layer is module.mix else 1
        padding = (1, 0, 0) if layer is module.mix else 0
        wanted = nn.functional.conv3d(wanted, kernel, layer.bias, padding=padding, groups=groups)
    wanted = (clips + wanted).permute(0, 2, 3, 4, 1).reshape(x.shape)
    torch.testing.assert_close(module(x, num_frames=3), wanted)


def test_a_single_frame_is_pointwise():
    module = awake()
    x = torch.randn(2, 3, 3, 6)
    out = module(x, num_frames=1)
    other = x.clone()
    other[0, 0, 0] += 1
    changed = (module(other, num_frames=1) - out).abs().sum(-1) > 0
    assert changed.nonzero().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("kernel_size", "reach"), [(3, 1), (5, 2)])
def test_gradients_reach_the_frames_of_the_kernel(kernel_size, reach):
    module = awake(kernel_size=kernel_size)
    x = torch.randn(14, 2, 2, 6, requires_grad=True)  # two clips of 7
    module(x, num_frames=7)[3].sum().backward()
    reached = x.grad.flatten(1).abs().sum(1).nonzero().flatten().tolist()
    assert reached == list(range(3 - reach, 4 + reach))


def test_statistics_run_over_all_frames_and_positions():
    module = TRA(6).train()
    x = 5 + torch.randn(4, 8, 8, 6)
    module(x, num_frames=2)
    rows = x.view(-1, 6)
    torch.testing.assert_close(module.norm.running_mean, 0.1 * rows.mean(0))
    torch.testing.assert_close(module.norm.running_var, 0.9 + 0.1 * rows.var(0))
