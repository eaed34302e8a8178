from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from echozoo.engine.optim import TrainableParamsConstructor
from echozoo.errors import ConfigError
from echozoo.registry import OPTIM_WRAPPERS


@pytest.fixture
def model() -> nn.Module:
    model = nn.ModuleDict({"backbone": nn.Linear(2, 3), "decoder": nn.Linear(3, 1)})
    model["backbone"].requires_grad_(False)
    return model


def build(model: nn.Module, **options):
    cfg = dict(optimizer=dict(type="Adam", lr=0.1, weight_decay=0.5), **options)
    return TrainableParamsConstructor(cfg, cfg.pop("paramwise_cfg", None))(model)


def test_only_trainable_parameters_are_optimised(model):
    groups = build(model).optimizer.param_groups
    assert [[id(p) for p in g["params"]] for g in groups] == [
        [id(p) for p in model["decoder"].parameters()]
    ]


def test_named_in_a_config(model):
    DefaultScope.get_instance("test_optim", scope_name="echozoo")
    cfg = dict(
        type="OptimWrapper",
        optimizer=dict(type="Adam", lr=0.1),
        constructor="TrainableParamsConstructor",
        clip_grad=dict(max_norm=1.0),
    )
    wrapper = build_optim_wrapper(model, cfg)
    assert wrapper.clip_grad_kwargs == {"max_norm": 1.0}
    assert len(wrapper.optimizer.param_groups[0]["params"]) == 2


def test_paramwise_rules_apply(model):
    wrapper = build(model, paramwise_cfg=dict(bias_decay_mult=0.0, bias_lr_mult=2.0))
    groups = {id(g["params"][0]): g for g in wrapper.optimizer.param_groups}
    assert len(groups) == 2
    bias, weight = groups[id(model["decoder"].bias)], groups[id(model["decoder"].weight)]
    assert (bias["lr"], bias["weight_decay"]) == (0.2, 0.0)
    assert (weight["lr"], weight["weight_decay"]) == (0.1, 0.5)


@pytest.mark.parametrize("paramwise", [None, dict(bias_decay_mult=0.0)])
def test_nothing_to_train_is_an_error(model, paramwise):
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="all parameters are frozen"):
        build(model, paramwise_cfg=paramwise)


def test_bfloat16_runs_on_the_cpu(model):
    wrapper = OPTIM_WRAPPERS.build(
        dict(
            type="BFloat16OptimWrapper",
            optimizer=torch.optim.SGD(model["decoder"].parameters(), lr=0.1),
        )
    )
    decoder = model["decoder"].to(wrapper_device())
    before = decoder.weight.clone()
    inputs = torch.randn(5, 3, device=wrapper_device())
    with wrapper.optim_context(model):
        outputs = decoder(inputs)
    assert outputs.dtype == torch.bfloat16
    wrapper.update_params(outputs.float().square().mean())
    assert decoder.weight.dtype == torch.float32
    assert not torch.equal(before, decoder.weight)
    assert decoder(inputs).dtype == torch.float32


def wrapper_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
