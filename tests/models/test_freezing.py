from __future__ import annotations

import pytest
import torch
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.freezing import freeze, hold_frozen_statistics
from echozoo.registry import MODELS


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


def tables(*blocks: int, kind: str = "rel_pos_?") -> list[str]:
    return [f"backbone.blocks.{block}.attn.{kind}" for block in blocks]


def vit(arch: str) -> nn.Module:
    model = nn.Module()
    with torch.device("meta"):
        model.backbone = MODELS.build(dict(type="SAMViT", arch=arch))
    return model


BASE, LARGE = (2, 5, 8, 11), (5, 11, 17, 23)


@pytest.mark.parametrize(("arch", "blocks"), [("large", BASE), ("huge", BASE), ("huge", LARGE)])
def test_block_numbers_of_another_size_are_refused(arch, blocks):
    for patterns in (tables(*blocks), ["backbone.neck.*", *tables(*blocks, kind="rel_pos_*")]):
        for given in ({"frozen": patterns}, {"frozen": ["*"], "trainable": patterns}):
            with pytest.raises(ConfigError, match="write 'backbone:global_positions'") as caught:
                freeze(vit(arch), **given)
    assert "of arch=" in str(caught.value)
    assert f"blocks.{blocks[1]}.attn.rel_pos_?" in str(caught.value)


@pytest.mark.parametrize(("arch", "blocks"), [("base", BASE), ("large", LARGE)])
def test_block_numbers_of_the_size_and_any_others_are_taken(arch, blocks):
    model = vit(arch)
    freeze(model, ["*"], ["backbone:global_positions"])
    wanted = trainable(model)
    freeze(model, ["*"], tables(*blocks))
    assert trainable(model) == wanted
    assert len(wanted) == 8
    # Other blocks may be meant, and all there is of a block.
    for patterns in (["backbone.blocks.*"], tables(*BASE[:2]), tables("*"), tables(4, 5, 6, 7)):
        freeze(model, ["*"], patterns)


def test_statistics_of_a_frozen_batch_norm_are_held():
    model = network().train()
    hold_frozen_statistics(model)
    assert model["norm"].training
    freeze(model, frozen=["norm.*"])
    hold_frozen_statistics(model)
    assert not model["norm"].training
