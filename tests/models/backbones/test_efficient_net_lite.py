"""EfficientNet-Lite: the published networks' maps, sizes and weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from echozoo.errors import CheckpointError, ConfigError
from echozoo.models import load_published
from echozoo.models.backbones.efficient_net_lite import EfficientNetLite
from echozoo.registry import MODELS

# Mean, standard deviation, first, middle and last value of each map that the published code gives
# for the weights and the image below (efficientnet-lite-pytorch 0.1.0; timm 1.0.31 gives the same
# maps as this project for the published weights, to 4e-5).
RECORDED = {
    "lite0": {
        (16, 48, 40): [0.00219, 0.1551, -0.34413, 0.40901, -0.04339],
        (24, 24, 20): [-0.00465, 0.3354, -0.58699, 0.39403, -0.31498],
        (40, 12, 10): [-0.01497, 0.4063, -0.74478, 0.42733, 0.78376],
        (112, 6, 5): [0.01012, 1.39953, -1.32223, 2.216, -1.3868],
        (320, 3, 3): [-0.00634, 1.22404, -0.52505, 1.61155, -1.59632],
    },
    "lite1": {
        (16, 48, 40): [0.00219, 0.1551, -0.34413, 0.40901, -0.04339],
        (24, 24, 20): [-0.00551, 0.56097, -0.94399, 0.83101, -0.50099],
        (40, 12, 10): [-0.00731, 0.7813, -1.20937, 0.88332, 1.23584],
        (112, 6, 5): [0.01637, 2.13737, -1.73788, 2.91693, -2.3634],
        (320, 3, 3): [-0.00665, 1.3421, -0.46891, 1.84497, -1.78306],
    },
    "lite2": {
        (16, 48, 40): [0.00219, 0.1551, -0.34413, 0.40901, -0.04339],
        (24, 24, 20): [-0.00551, 0.56097, -0.94399, 0.83101, -0.50099],
        (48, 12, 10): [-0.00662, 0.8223, -1.13592, -1.71052, -0.40091],
        (120, 6, 5): [-0.03123, 2.15084, -1.84171, 0.71201, 0.83625],
        (352, 3, 3): [-0.0313, 1.30899, -0.63642, 1.78556, -1.76023],
    },
}
PUBLISHED_NAMES = (
    ("stem.conv.", "_conv_stem."),
    ("stem.norm.", "_bn0."),
    ("expand.conv.", "_expand_conv."),
    ("expand.norm.", "_bn0."),
    ("depthwise.conv.", "_depthwise_conv."),
    ("depthwise.norm.", "_bn1."),
    ("project.conv.", "_project_conv."),
    ("project.norm.", "_bn2."),
    ("blocks.", "_blocks."),
)


def published(key: str) -> str:
    for ours, theirs in PUBLISHED_NAMES:
        key = key.replace(ours, theirs)
    return key


def published_weights(arch: str) -> dict[str, Tensor]:
    """Waves under the published key names, a classifier too."""
    weights = {}
    for own, value in EfficientNetLite(arch).state_dict().items():
        key = published(own)
        if value.is_floating_point():
            index = torch.arange(value.numel(), dtype=torch.float64)
            wave = torch.sin(0.7 * index + 0.1 * len(key)).view(value.shape)
            if value.dim() > 1:
                value = wave * (2 / value[0].numel()) ** 0.5
            else:
                value = 0.1 * wave + (0 if key.endswith((".running_mean", ".bias")) else 1)
        weights[key] = value.float() if value.is_floating_point() else value
    head = {"_conv_head.weight": (8, 320, 1, 1), "_bn1.weight": (8,), "_fc.bias": (10,)}
    return weights | {key: torch.zeros(shape) for key, shape in head.items()}


def around(backbone: nn.Module) -> nn.Module:
    model = nn.Module()
    model.backbone, model.decode_head = backbone, nn.Conv2d(8, 4, 1)
    return model


@torch.no_grad()
@pytest.mark.parametrize("arch", RECORDED)
def test_published_weights_give_the_recorded_maps(arch: str) -> None:
    model = around(MODELS.build(dict(type="EfficientNetLite", arch=arch)))
    head = {key: value.clone() for key, value in model.decode_head.state_dict().items()}
    report = load_published(model, published_weights(arch))
    assert report.left == ("decode_head.weight", "decode_head.bias")
    assert all(torch.equal(model.decode_head.state_dict()[key], head[key]) for key in head)
    across = torch.arange(80, dtype=torch.float64) * torch.arange(1, 4)[:, None, None]
    down = torch.arange(96, dtype=torch.float64)[:, None]
    image = torch.sin(0.05 * across + 0.03 * down).float()  # 3, 96, 80
    maps = model.backbone.eval()(image[None])
    assert [tuple(one.shape[1:]) for one in maps] == list(RECORDED[arch])
    for found, wanted in zip(maps, RECORDED[arch].values(), strict=True):
        flat = found.flatten().double()
        values = [flat.mean(), flat.std(), flat[0], flat[len(flat) // 2], flat[-1]]
        assert values == pytest.approx(wanted, rel=1e-3, abs=2e-5)


@pytest.mark.parametrize(
    ("arch", "size"), [("lite0", 2_958_848), ("lite1", 3_723_520), ("lite2", 4_357_952)]
)
def test_sizes(arch: str, size: int) -> None:
    # The published networks without their last convolution and classifier.
    assert sum(p.numel() for p in EfficientNetLite(arch).parameters()) == size


def test_sides_are_rounded_up() -> None:
    backbone = EfficientNetLite(width=0.25)
    maps = backbone(torch.randn(2, 3, 65, 33))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (8, 33, 17),
        (8, 17, 9),
        (16, 9, 5),
        (32, 5, 3),
        (80, 3, 2),
    ]
    assert (backbone.out_channels, -(-65 // backbone.stride)) == maps[-1].shape[1:3]


def test_every_parameter_learns() -> None:
    backbone = EfficientNetLite(width=0.25)
    maps = backbone(torch.randn(2, 3, 64, 64))
    sum((one * torch.randn_like(one)).sum() for one in maps).backward()
    assert all(p.grad.abs().sum() > 0 for p in backbone.parameters())


def test_another_arch_is_refused() -> None:
    with pytest.raises(ConfigError, match="found arch='lite9', wants lite0, lite1, lite2"):
        EfficientNetLite("lite9")


def test_weights_of_another_arch_or_a_part_of_them_are_refused() -> None:
    weights = published_weights("lite0")
    with pytest.raises(CheckpointError, match="missing .*misshapen"):
        load_published(around(EfficientNetLite("lite2")), weights)
    del weights["_blocks.3._bn1.bias"]
    with pytest.raises(CheckpointError, match="1 missing .backbone.blocks.3.depthwise.norm.bias"):
        load_published(around(EfficientNetLite("lite0")), weights)
