"""CE-Net's decoder, and with it the whole network."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.decoders.ce_net_head import CENetHead, UpBlock
from echozoo.registry import MODELS

LOSS = dict(type="CrossEntropyLoss", avg_non_ignore=True)  # whose default warns
SMALL = dict(in_channels=(4, 8, 16, 34), channels=4, num_classes=3, loss_decode=LOSS)

# Our names -> the published ones, in this order; block i of the decoder is their 4 - i.
PUBLISHED_NAMES = (
    *((f"2.blocks.{i}.", f"decoder{4 - i}.") for i in range(4)),
    ("narrow.0.", "conv1."),
    ("narrow.1.", "norm1."),
    ("enlarge.0.", "deconv2."),
    ("enlarge.1.", "norm2."),
    ("widen.0.", "conv3."),
    ("widen.1.", "norm3."),
    ("2.final.0.", "finaldeconv1."),
    ("2.final.2.", "finalconv2."),
    ("2.conv_seg.", "finalconv3."),
    ("1.dac.near.", "dblock.dilate1."),
    ("1.dac.middle.", "dblock.dilate2."),
    ("1.dac.far.", "dblock.dilate3."),
    ("1.dac.project.", "dblock.conv1x1."),
    ("1.rmp.", "spp."),
    ("0.layer", "encoder"),
)


def published(name: str) -> str:
    if name.startswith(("0.conv1.", "0.bn1.")):
        return name.replace("0.conv1.", "firstconv.").replace("0.bn1.", "firstbn.")
    for ours, theirs in PUBLISHED_NAMES:
        name = name.replace(ours, theirs)
    return name


def ce_net(num_classes: int) -> nn.Sequential:
    init_default_scope("echozoo")
    head = dict(type="CENetHead", num_classes=num_classes, threshold=0.5, loss_decode=LOSS)
    parts = dict(type="CENetEncoder"), dict(type="ContextExtractor"), head
    return nn.Sequential(*map(MODELS.build, parts))


@torch.no_grad()
def test_the_whole_network_gives_the_recorded_output():
    network = ce_net(num_classes=4).eval()
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        key = published(name)
        assert not key[0].isdigit(), "every name is mapped"
        index = torch.arange(value.numel(), dtype=torch.float64)
        wave = torch.sin(0.7 * index + 0.1 * len(key)).view(value.shape)
        near_one = value.dim() == 1 and key.endswith((".weight", ".running_var"))
        scale = 0.1 if key.endswith(".running_mean") else 0.05
        value.copy_(1 + 0.1 * wave if near_one else scale * wave)
    ramp = torch.arange(256, dtype=torch.float64)
    image = (0.5 + 0.5 * torch.sin(0.05 * ramp + 0.03 * ramp[:, None])).float()
    out = network(image.expand(1, 3, 256, 256)).sigmoid().flatten().double()
    found = [out.mean(), out.std(), out[0], out[len(out) // 2], out[-1]]
    wanted = [0.481202, 0.45039, 0.506456, 0.514165, 0.480431]
    assert found == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize(("classes", "size"), [(1, 29_003_093), (4, 29_003_960)])
def test_sizes(classes, size):
    assert sum(p.numel() for p in ce_net(classes).parameters()) == size


def test_every_map_counts_and_every_parameter_learns():
    head = CENetHead(**SMALL)
    maps = [
        torch.randn(2, channels, 64 // stride, 96 // stride, requires_grad=True)
        for channels, stride in zip(SMALL["in_channels"], (4, 8, 16, 32), strict=True)
    ]
    logits = head(maps)
    assert logits.shape == (2, 3, 64, 96)
    logits.square().sum().backward()
    assert all(m.grad.abs().sum() > 0 for m in maps)
    # A bias before a norm has no effect, and no gradient but rounding.
    assert all(p.grad.abs().sum() > 0 for p in head.parameters() if p.dim() > 1)
    assert all(p.grad is not None for p in head.parameters())


@torch.no_grad()
def test_skips_are_added():
    head = CENetHead(**SMALL).eval()
    *skips, last = [torch.randn(1, c, 2 ** (3 - i), 2 ** (3 - i)) for i, c in
                    enumerate(SMALL["in_channels"])]  # fmt: skip
    x = last
    for block, skip in zip(head.blocks, [*reversed(skips), torch.zeros(())], strict=True):
        x = block(x) + skip
    torch.testing.assert_close(head([*skips, last]), head.conv_seg(head.final(x)))


def test_a_block_doubles_and_is_never_negative():
    out = UpBlock(8, 5)(torch.randn(2, 8, 3, 4))
    assert out.shape == (2, 5, 6, 8)
    assert out.min() == 0
    assert out.max() > 0


def test_logits_begin_near_zero_after_initialisation():
    head = CENetHead(**SMALL)
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.25)
    assert not head.conv_seg.bias.any()


def test_sides_that_32_does_not_divide_are_refused():
    encoder = MODELS.build(dict(type="CENetEncoder", layers=(1, 1, 1, 1), base_channels=4))
    head = CENetHead(**SMALL | dict(in_channels=(4, 8, 16, 32)))
    with pytest.raises(ConfigError, match="height and width 32 divides"):
        head(encoder(torch.randn(2, 3, 64, 72)))
