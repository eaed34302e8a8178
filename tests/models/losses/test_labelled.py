"""What is not labelled counts in no loss, whatever stands in its place."""

from __future__ import annotations

import pytest
import torch

from echozoo.registry import MODELS

LOSSES = [
    dict(type=name, dice_over=dice_over)
    for name in ("DiceCELoss", "DiceMSELoss")
    for dice_over in ("sample", "batch")
]


def batch(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(shape, requires_grad=True), (torch.rand(shape) > 0.6).float()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_frames_without_labels_count_nowhere(loss):
    loss = MODELS.build(loss)
    logits, masks = batch(5, 2, 8, 8)
    frames = [1, 4]
    wanted = loss(logits[frames], masks[frames])
    labelled = torch.zeros(5, 2, dtype=torch.bool)
    labelled[frames] = True
    spoilt = torch.full_like(masks, torch.nan)
    spoilt[frames] = masks[frames]
    found = loss(logits, spoilt, labelled)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)
    (gradient,) = torch.autograd.grad(sum(found.values()), logits)
    assert (gradient[frames] != 0).all()
    assert (gradient[[0, 2, 3]] == 0).all()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_structures_without_labels_count_nowhere(loss):
    loss = MODELS.build(loss)
    logits, masks = batch(3, 2, 8, 8)
    labelled = torch.tensor([[True, False]] * 3)
    found, wanted = loss(logits, masks, labelled), loss(logits[:, :1], masks[:, :1])
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_without_any_label_the_loss_is_0_and_has_a_gradient(loss):
    logits, masks = batch(3, 2, 8, 8)
    found = sum(MODELS.build(loss)(logits, masks, torch.zeros(3, 2, dtype=torch.bool)).values())
    assert found == 0
    assert (torch.autograd.grad(found, logits)[0] == 0).all()
