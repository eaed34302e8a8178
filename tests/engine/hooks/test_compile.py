"""--compile: one compilation a shape of the training's batches, none for films."""

from __future__ import annotations

import functools

import pytest
import torch
from mmengine.runner import Runner
from torch import Tensor, nn

from echozoo.engine.hooks.compile import CompileHook
from echozoo.errors import ConfigError


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, num_frames: int = 1) -> Tensor:
        return self.scale * images / num_frames


@pytest.fixture
def runner() -> Runner:
    runner = Runner.__new__(Runner)
    runner.model = nn.Module()
    runner.model.backbone = Backbone()
    return runner


@pytest.fixture
def shapes(monkeypatch) -> list[torch.Size]:
    """The shapes that were compiled, by a compiler that leaves the code as it is."""
    seen = []

    def backend(graph, inputs):
        seen.append(next(x.shape for x in inputs if x.ndim == 4))
        return graph

    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    return seen


def test_compiles_each_shape_once_and_only_in_training(runner, shapes):
    CompileHook().before_train(runner)
    backbone = runner.model.backbone.train()
    for count in (4, 4, 2, 4, 2):
        out = backbone(torch.ones(count, 1, 8, 8), num_frames=2)
        assert (out == 1).all()
    assert [shape[0] for shape in shapes] == [4, 2]
    out.sum().backward()
    assert backbone.scale.grad == out.numel() / 2
    backbone.eval()(torch.ones(7, 1, 8, 8))
    assert len(shapes) == 2
    assert list(backbone.state_dict()) == ["scale"]


def test_no_compiler(runner, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="no C.. compiler 'no-such-compiler' found"):
        CompileHook().before_train(runner)
