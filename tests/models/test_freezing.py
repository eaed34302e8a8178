from __future__ import annotations

import pytest
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.freezing import freeze, hold_frozen_statistics


def network() -> nn.Module:
    parts = {"encoder": nn.Linear(2, 2), "adapter": nn.Linear(2, 2), "norm": nn.BatchNorm1d(2)}
    return nn.ModuleDict(parts)


def trainable(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_patterns_freeze_and_exempt():
    model = network()
    freeze(model, frozen=["*"], trainable=["adapter.*", "encoder.bias"])
    assert trainable(model) == {"adapter.weight", "adapter.bias", "encoder.bias"}


def test_freezing_again_starts_over():
    model = network()
    freeze(model, frozen=["*"])
    freeze(model, frozen=["norm.*"])
    assert trainable(model) == {
        "encoder.weight", "encoder.bias", "adapter.weight", "adapter.bias",
    }  # fmt: skip


@pytest.mark.parametrize("option", ["frozen", "trainable"])
def test_a_pattern_that_matches_nothing_is_an_error(option):
    patterns = {"frozen": ["*"], "trainable": []}
    patterns[option] = ["enkoder.*"]
    with pytest.raises(ConfigError, match=r"'enkoder\.\*'.*adapter, encoder, norm"):
        freeze(network(), **patterns)


def test_statistics_of_a_frozen_batch_norm_are_held():
    model = network().train()
    hold_frozen_statistics(model)
    assert model["norm"].training
    freeze(model, frozen=["norm.*"])
    hold_frozen_statistics(model)
    assert not model["norm"].training
