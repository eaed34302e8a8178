"""What is derived from parameters is kept as long as it is true, and no longer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from echozoo.models.layers.conv_branch import PositionAdapter
from echozoo.models.layers.derived import Derived


class Doubled:
    """Twice a parameter, and how often it was computed."""

    def __init__(self) -> None:
        self.parameter = nn.Parameter(torch.ones(3))
        self.derived, self.count = Derived(), 0

    def __call__(self) -> Tensor:
        return self.derived([self.parameter], self._compute)

    def _compute(self) -> Tensor:
        self.count += 1
        return 2 * self.parameter


@torch.no_grad()
def test_computed_once_until_the_parameter_changes():
    doubled = Doubled()
    assert doubled() is doubled()
    assert doubled.count == 1
    doubled.parameter.add_(1)
    assert doubled().tolist() == [4, 4, 4]
    doubled.parameter.data = torch.zeros(3)
    assert doubled().tolist() == [0, 0, 0]
    doubled.derived.forget()
    doubled()
    assert doubled.count == 4


def test_never_kept_while_it_trains():
    doubled = Doubled()
    for _ in range(2):
        doubled().sum().backward()
    assert doubled.count == 2
    assert doubled.parameter.grad.tolist() == [4, 4, 4]
    doubled.parameter.requires_grad_(False)
    assert doubled() is doubled()  # frozen


@torch.no_grad()
def test_other_precisions_are_other_values():
    doubled = Doubled()
    wide = doubled()
    with torch.autocast("cpu", torch.bfloat16):
        assert doubled() is not wide
    assert doubled.count == 2


def test_position_adapter_runs_once_in_evaluation():
    adapter = PositionAdapter(4, 1).eval()
    table = nn.Parameter(torch.randn(1, 4, 4, 4))
    calls = []
    adapter.downs[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        small = adapter(table)
        assert adapter(table) is small
        assert len(calls) == 1
        table.mul_(2)
        with pytest.raises(AssertionError):
            torch.testing.assert_close(adapter(table), small)
        assert len(calls) == 2
    trained = adapter.train()(table)
    trained.sum().backward()
    assert table.grad is not None
