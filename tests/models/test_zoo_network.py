"""ZooNetwork: the model that comes with the zoo says the same as a part of another one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echozoo.apis.loading import load_model
from echozoo.errors import ConfigError
from echozoo.registry import MODELS


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return MODELS.build(dict(type="ZooNetwork", name="efficient_unet"))


def test_its_opinion_is_that_of_the_model(network):
    grey = torch.randint(0, 256, (2, 1, 64, 96)).float()
    loaded = load_model("efficient_unet", device="cpu", fast_cpu=False)
    batch = loaded.model.data_preprocessor({"inputs": [clip[None] for clip in grey]})
    with torch.inference_mode():
        logits = loaded.model(batch["inputs"])  # N, K + 1, h, w
        odds = network(grey / 255)
    chances = logits.softmax(1)[:, 1:]
    torch.testing.assert_close(odds, torch.logit(chances), rtol=1e-3, atol=1e-3)


def test_its_weights_are_not_saved_again_and_never_train(network):
    whole = nn.ModuleDict({"coarse": network, "other": nn.Linear(1, 1)})
    state = whole.state_dict()
    assert list(state) == ["other.weight", "other.bias"]
    before = {name: value.clone() for name, value in network.network.state_dict().items()}
    assert whole.load_state_dict(state) == ([], [])
    assert all(
        (network.network.state_dict()[name] == value).all() for name, value in before.items()
    )
    whole.train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_no_other_model(network):
    with pytest.raises(ConfigError, match="name='none', wants one of efficient_unet"):
        MODELS.build(dict(type="ZooNetwork", name="none"))
