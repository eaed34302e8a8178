from __future__ import annotations

import pytest
import torch
from mmengine.logging import MessageHub

from echozoo.errors import ConfigError
from echozoo.models.losses.bootstrapped_ce import BootstrappedCE
from echozoo.models.losses.dice_ce import DiceCELoss


@pytest.fixture
def at():
    hub = MessageHub.get_current_instance()
    before = hub.get_info("iter", 0)
    yield lambda iteration: hub.update_info("iter", iteration)
    hub.update_info("iter", before)


def test_all_pixels_count_first_and_then_the_hardest(at):
    logits = torch.linspace(-3, 3, 100).reshape(1, 1, 10, 10)
    masks = torch.zeros_like(logits)
    loss = BootstrappedCE(share=0.2, start=100, end=200)
    pixels = torch.nn.functional.softplus(logits).flatten().sort(descending=True).values
    for iteration, count in ((0, 100), (100, 100), (150, 60), (200, 20), (999, 20)):
        at(iteration)
        found = loss(logits, masks)
        torch.testing.assert_close(found["loss_ce"], pixels[:count].mean())
        assert found["loss_dice"] == 0


def test_before_the_start_it_is_cross_entropy(at):
    at(5)
    logits, masks = torch.randn(2, 3, 8, 8), (torch.rand(2, 3, 8, 8) > 0.5).float()
    labelled = torch.tensor([[True, False, True], [False, True, True]])
    wanted = DiceCELoss(0.0, 1.0)(logits, masks, labelled)
    for name, value in BootstrappedCE()(logits, masks, labelled).items():
        torch.testing.assert_close(value, wanted[name])


@pytest.mark.parametrize("wrong", [dict(share=0), dict(share=1.5), dict(start=5, end=4)])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="wanted a share"):
        BootstrappedCE(**wrong)
