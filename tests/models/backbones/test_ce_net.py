"""CE-Net's encoder equals torchvision's ResNet-34 and takes its weights as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import resnet34
from torchvision.models.feature_extraction import create_feature_extractor

from echozoo.models.backbones.ce_net import CENetEncoder
from echozoo.registry import MODELS


@torch.no_grad()
def test_equals_torchvision():
    reference = resnet34().eval()
    for norm in (m for m in reference.modules() if isinstance(m, nn.BatchNorm2d)):
        for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            value.add_(0.3 * torch.rand_like(value))
    encoder = MODELS.build(dict(type="CENetEncoder")).eval()
    outcome = encoder.load_state_dict(reference.state_dict(), strict=False)
    assert not outcome.missing_keys
    assert set(outcome.unexpected_keys) == {"fc.weight", "fc.bias"}
    stages = [f"layer{stage}" for stage in (1, 2, 3, 4)]
    images = torch.randn(2, 3, 64, 96)
    wanted = create_feature_extractor(reference, stages)(images)
    for stage, found in zip(stages, encoder(images), strict=True):
        torch.testing.assert_close(found, wanted[stage])


@torch.no_grad()
def test_begins_as_torchvision_does():
    for ours, theirs in zip(CENetEncoder().parameters(), resnet34().parameters(), strict=False):
        assert ours.shape == theirs.shape
        assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=0.02)
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.1)


def test_small_ones_have_the_same_strides():
    encoder = CENetEncoder(layers=(1, 1, 2, 1), base_channels=4)
    maps = encoder(torch.randn(1, 3, 64, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(4, 16, 8), (8, 8, 4), (16, 4, 2), (32, 2, 1)]
