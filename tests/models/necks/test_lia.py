"""LIA: coordinate attention's sizes and recorded output, plain numpy, and the two directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from echozoo.models.necks.lia import LIA
from echozoo.registry import MODELS

# What the published coordinate attention calls a part -> what it is called here.
PUBLISHED = {"conv1": "encode", "bn1": "norm", "conv_h": "gate_rows", "conv_w": "gate_columns"}


def awake(channels: int, **settings) -> LIA:
    module = LIA(channels, **settings).eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            nn.init.normal_(value, std=0.7) if value.dim() > 1 else nn.init.uniform_(value, 0.5, 1)
    return module


@pytest.mark.parametrize(("channels", "count"), [(64, 1_688), (256, 6_680), (768, 56_904)])
def test_published_sizes(channels, count):
    module = MODELS.build(dict(type="LIA", in_channels=channels))
    assert sum(parameter.numel() for parameter in module.parameters()) == count


@torch.no_grad()
def test_recorded_output():
    module = LIA(64).eval()
    state = module.state_dict()
    for theirs, ours in PUBLISHED.items():
        for name in ("weight", "bias", "running_mean", "running_var"):
            if f"{ours}.{name}" not in state:
                continue
            value, key = state[f"{ours}.{name}"], f"{theirs}.{name}"
            wave = torch.sin(0.7 * torch.arange(value.numel()).double() + 0.1 * len(key))
            around_one = name == "running_var" or (name == "weight" and value.dim() == 1)
            size = 0.1 if around_one or name == "running_mean" else 0.05
            value.copy_((around_one + size * wave).view(value.shape))
    row, column = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    image = 0.5 + 0.5 * torch.sin(0.05 * column.double() + 0.03 * row.double())
    out = module(image.float().expand(1, 64, 16, 24)).flatten().double()
    found = [out.mean(), out.std(), out[0], out[len(out) // 2], out[-1]]
    wanted = [0.208838, 0.0326397, 0.13114, 0.118445, 0.261602]
    np.testing.assert_allclose(found, wanted, rtol=2e-5)


def by_hand(module: LIA, x: np.ndarray) -> np.ndarray:
    """Coordinate attention of one image (C, H, W), line by line."""
    weights = {name: value.double().numpy() for name, value in module.state_dict().items()}

    def gate(line: np.ndarray, name: str) -> np.ndarray:
        hidden = weights["encode.weight"][..., 0, 0] @ line + weights["encode.bias"]
        hidden -= weights["norm.running_mean"]
        hidden *= weights["norm.weight"] / np.sqrt(weights["norm.running_var"] + 1e-5)
        hidden += weights["norm.bias"]
        hidden *= np.clip(hidden + 3, 0, 6) / 6
        logit = weights[f"{name}.weight"][..., 0, 0] @ hidden + weights[f"{name}.bias"]
        return 1 / (1 + np.exp(-logit))

    out = x.copy()
    for row in range(x.shape[1]):
        out[:, row] *= gate(x[:, row].mean(1), "gate_rows")[:, None]
    for column in range(x.shape[2]):
        out[:, :, column] *= gate(x[:, :, column].mean(1), "gate_columns")[:, None]
    return out


@torch.no_grad()
def test_equals_plain_numpy():
    module = awake(6, min_channels=3)
    x = torch.randn(2, 6, 5, 7)
    wanted = [by_hand(module, image.double().numpy()) for image in x]
    np.testing.assert_allclose(module(x).numpy(), wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def gates(module: LIA, x: torch.Tensor) -> torch.Tensor:
    return module(x) / x


@torch.no_grad()
def test_a_change_is_seen_along_its_row_and_its_column_only():
    module = awake(4)
    x = 1 + torch.rand(1, 4, 6, 8)
    changed = x.clone()
    changed[0, :, 2, 5] += 3
    differs = ((gates(module, changed) - gates(module, x)).abs() > 1e-4).any(1)[0]
    wanted = torch.zeros(6, 8, dtype=torch.bool)
    wanted[2], wanted[:, 5] = True, True
    assert torch.equal(differs, wanted)


@torch.no_grad()
def test_height_and_width_are_told_apart():
    module = awake(4)
    x = 1 + torch.rand(1, 4, 6, 6)
    turned = module(x.transpose(2, 3)).transpose(2, 3)
    assert not torch.allclose(turned, module(x), atol=1e-3)
    module.gate_columns.load_state_dict(module.gate_rows.state_dict())
    turned = module(x.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(turned, module(x))


@torch.no_grad()
def test_with_silent_gates_a_quarter_passes():
    module = awake(4)
    for gate in (module.gate_rows, module.gate_columns):
        nn.init.zeros_(gate.weight)
        nn.init.zeros_(gate.bias)
    x = torch.randn(2, 4, 5, 3)
    torch.testing.assert_close(module(x), x / 4)
