from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from torch import nn

from echozoo.engine.hooks.parameter_table import (
    ParameterTableHook,
    PartCount,
    count_parameters,
    parameter_table,
)


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(7))
        self.stem = nn.Linear(3, 2)  # 8
        self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])  # 12


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.data_preprocessor = nn.Identity()
        self.backbone = Backbone()
        self.decoder = nn.Linear(2, 1)  # 3
        self.backbone.stem.requires_grad_(False)
        self.backbone.position.requires_grad_(False)


@pytest.fixture
def model() -> nn.Module:
    return Network()


def test_counts(model):
    assert count_parameters(model) == [
        PartCount("backbone", 27, 12),
        PartCount("backbone.stem", 8, 0),
        PartCount("backbone.blocks", 12, 12),
        PartCount("backbone.(own)", 7, 0),
        PartCount("decoder", 3, 3),
        PartCount("total", 30, 15),
    ]


def test_shared_parameters_count_once_in_the_total(model):
    model.other = model.decoder
    model.head = nn.Sequential(model.decoder)
    rows = {row.part: row.parameters for row in count_parameters(model)}
    assert (rows["decoder"], rows["head"], rows["total"]) == (3, 3, 30)


def test_table_shows_numbers_and_shares(model):
    text = io.StringIO()
    Console(file=text, width=80).print(parameter_table(model))
    total = next(line for line in text.getvalue().splitlines() if "total" in line)
    assert total.replace("│", " ").split() == ["total", "30", "15", "50.0%"]


def test_a_model_without_parameters_has_a_table():
    assert parameter_table(nn.Identity()).row_count == 1


def test_hook_logs_the_table_of_the_wrapped_model(model):
    lines: list[str] = []
    runner = SimpleNamespace(model=model, logger=SimpleNamespace(info=lines.append))
    ParameterTableHook().before_train(runner)
    assert "backbone" in lines[0]
    assert "Network" in lines[0]
