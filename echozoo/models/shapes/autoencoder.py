"""The autoencoder of shapes: a label map to 16 codes and back."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn


def _block(conv: nn.Module, name: str, channels: int) -> nn.Sequential:
    norm = nn.BatchNorm2d(channels)
    return nn.Sequential(OrderedDict({name: conv, "act": nn.ELU(), "bn": norm}))


class ShapeEncoder(nn.Module):
    """Four times: a convolution of stride 2, one of stride 1; then one more of stride 2.

    Args:
        regions: C, background among them.
        widths: Channels of each level.
        codes: D.
        side: Of the square maps, in pixels.
    """

    def __init__(self, regions: int, widths: tuple[int, ...], codes: int, side: int) -> None:
        super().__init__()
        steps, channels = OrderedDict(), regions
        for k, width in enumerate(widths):
            down = nn.Conv2d(channels, width, 3, stride=2, padding=1)
            steps[f"strided_conv_elu_bn_{k}"] = _block(down, "conv", width)
            steps[f"conv_elu_bn_{k}"] = _block(nn.Conv2d(width, width, 3, padding=1), "conv", width)
            channels = width
        last = nn.Conv2d(channels, widths[0], 3, stride=2, padding=1)
        steps["bottleneck_strided_conv_elu_bn"] = _block(last, "conv", widths[0])
        self.input2features = nn.Sequential(steps)
        features = widths[0] * (side >> (len(widths) + 1)) ** 2
        self.mu_head = nn.Linear(features, codes)
        self.logvar_head = nn.Linear(features, codes)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance (N, D) of the codes of one-hot maps (N, C, H, W)."""
        features = self.input2features(maps).flatten(1)
        return self.mu_head(features), self.logvar_head(features)


class ShapeDecoder(nn.Module):
    """The way back: transposed convolutions of stride 2, each but the last with one of stride 1.

    Args:
        regions: C.
        widths: Channels of each level, as the encoder's.
        codes: D.
        side: Of the square maps.
    """

    def __init__(self, regions: int, widths: tuple[int, ...], codes: int, side: int) -> None:
        super().__init__()
        self.shape = (widths[0], *(side >> (len(widths) + 1),) * 2)
        features = widths[0] * self.shape[1] * self.shape[2]
        self.encoding2features = nn.Sequential(
            OrderedDict(bottleneck_fc=nn.Linear(codes, features), act=nn.ELU())
        )
        steps, channels = OrderedDict(), widths[0]
        for k, width in enumerate((*reversed(widths), widths[0])):
            up = nn.ConvTranspose2d(channels, width, 2, stride=2)
            steps[f"conv_transpose_elu_bn_{k}"] = _block(up, "conv_transpose", width)
            if k < len(widths):
                same = nn.Conv2d(width, width, 3, padding=1)
                steps[f"conv_elu_bn_{k}"] = _block(same, "conv", width)
            channels = width
        self.features2output = nn.Sequential(steps)
        self.classifier = nn.Conv2d(channels, regions, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits (N, C, H, W) of codes (N, D)."""
        features = self.encoding2features(codes).unflatten(1, self.shape)
        return self.classifier(self.features2output(features))


def one_hot(labels: Tensor, regions: int) -> Tensor:
    """Maps (N, C, H, W) float32 of label maps (N, H, W)."""
    return F.one_hot(labels.long(), regions).movedim(-1, 1).float()
