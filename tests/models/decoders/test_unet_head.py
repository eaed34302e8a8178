"""The U-Net head: every map counts, and the logits are those of the steps one by one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor

from echozoo.errors import ConfigError
from echozoo.models.decoders.unet_head import UNetHead
from echozoo.registry import MODELS

LOSS = dict(type="CrossEntropyLoss", avg_non_ignore=True)  # whose default warns
SMALL = dict(in_channels=(4, 8, 16), widths=(6, 5), num_classes=3, loss_decode=LOSS)


def pyramid(height: int = 33, width: int = 20) -> list[Tensor]:
    """Maps of a backbone whose sides are halved and rounded up."""
    sizes = [(height, width), (-(-height // 2), -(-width // 2)), (-(-height // 4), -(-width // 4))]
    channels = SMALL["in_channels"]
    return [
        torch.randn(2, c, *size, requires_grad=True)
        for c, size in zip(channels, sizes, strict=True)
    ]


def test_every_map_counts_and_every_parameter_learns() -> None:
    head, maps = UNetHead(**SMALL), pyramid()
    logits = head(maps)
    assert logits.shape == (2, 3, 33, 20)
    (logits * torch.randn_like(logits)).sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in maps)
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


@torch.no_grad()
def test_steps_go_from_the_smallest_map_to_the_largest() -> None:
    head, (first, second, third) = UNetHead(**SMALL).eval(), pyramid(32, 16)
    x = head.steps[0](torch.cat([F.interpolate(third, scale_factor=2, mode="bilinear"), second], 1))
    assert x.shape == (2, 6, 16, 8)
    x = head.steps[1](torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear"), first], 1))
    assert x.shape == (2, 5, 32, 16)
    torch.testing.assert_close(head([first, second, third]), head.conv_seg(head.final(x)))


def test_logits_are_float32_under_autocast_too() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert UNetHead(**SMALL)(pyramid()).dtype == torch.float32


def test_one_width_too_few_is_refused() -> None:
    with pytest.raises(ConfigError, match="found 1 widths for 3 maps, wants 2"):
        UNetHead(**SMALL | dict(widths=(6,)))


def test_fits_the_backbone_by_default() -> None:
    init_default_scope("echozoo")
    head = MODELS.build(dict(type="UNetHead", num_classes=4, loss_decode=LOSS))
    assert sum(p.numel() for p in head.parameters()) == 627_700
    maps = MODELS.build(dict(type="EfficientNetLite"))(torch.randn(1, 3, 64, 96))
    assert head.eval()(maps).shape == (1, 4, 32, 48)
