"""What a memory keeps of a frame and the masks of its structures: values.

All are called as ``(features, masks, others, sensory)``, the features of N frames, masks and
others (N, K, H, W) on the grid of the images, sensory (N, K, C, h, w) or None.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.backbones.resnet_trunk import ResNetTrunk
from echozoo.models.layers.fusion import FusionBlock, with_structures
from echozoo.models.prompts import Features


class FusedValueEncoder(nn.Module):
    """A small ResNet of image and masks, fused with the image encoder's features (STCN, XMem).

    Args:
        embed_dims: Channels of the image encoder's features.
        value_dims: Channels of the values.
        stages: Stages of the ResNet, so that it ends at the stride of the features.
        bias: Whether its convolutions have a bias (STCN).
        image_first: Whether the image encoder's features come before the ResNet's (XMem).
        reinforce: Hidden channels of `Reinforcement`, which then takes the features' place; 0 is
            none.
        base_channels: Channels of the ResNet's stem.
    """

    def __init__(
        self,
        embed_dims: int,
        value_dims: int,
        stages: int = 3,
        bias: bool = False,
        image_first: bool = True,
        reinforce: int = 0,
        base_channels: int = 64,
    ) -> None:
        super().__init__()
        self.trunk = ResNetTrunk(18, 5, stages, base_channels, bias=bias)
        self.fuser = FusionBlock(embed_dims + self.trunk.out_channels, value_dims)
        self.image_first = image_first
        self.reinforcement = Reinforcement(embed_dims, reinforce) if reinforce else None

    def forward(self, features: Features, masks: Tensor, others: Tensor) -> Tensor:
        """Encode the frames with each structure's mask.

        Returns:
            Values (N, K, C, h, w).
        """
        shape = masks.shape[:2]  # N, K
        embedding = features.embedding.unsqueeze(1).expand(-1, shape[1], -1, -1, -1)
        if self.reinforcement is not None:
            embedding = self.reinforcement(embedding, masks)
        seen = self.trunk(_with_masks(features.images, masks, others))[-1].unflatten(0, shape)
        parts = (embedding, seen) if self.image_first else (seen, embedding)
        return self.fuser(torch.cat(parts, 2).flatten(0, 1)).unflatten(0, shape)


class PairValueEncoder(nn.Module):
    """STM's: a ResNet-50 of its own sees image and masks and gives keys as well as values."""

    def __init__(
        self,
        key_dims: int,
        value_dims: int,
        base_channels: int = 64,
        blocks: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.trunk = ResNetTrunk(50, 5, 3, base_channels, blocks=blocks)
        self.trunk.conv1 = _SplitStem(base_channels)
        self.key = nn.Conv2d(self.trunk.out_channels, key_dims, 3, padding=1)
        self.value = nn.Conv2d(self.trunk.out_channels, value_dims, 3, padding=1)

    def forward(self, features: Features, masks: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the frames with each structure's mask.

        Returns:
            Keys (N, K, C, h, w) and values (N, K, C', h, w).
        """
        seen = self.trunk(_with_masks(features.images, masks, others.clamp(0, 1)))[-1]
        return tuple(part(seen).unflatten(0, masks.shape[:2]) for part in (self.key, self.value))


class _SplitStem(nn.Module):
    """Image, mask and others have a convolution each, the sum of which is the stem's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.image, self.mask, self.others = (
            nn.Conv2d(inputs, channels, 7, 2, padding=3, bias=False) for inputs in (3, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 5, H, W) to (N, C, H / 2, W / 2)."""
        image, mask, others = x.split((3, 1, 1), 1)
        return self.image(image) + self.mask(mask) + self.others(others)


class Reinforcement(nn.Module):
    """MemSAM's: the mask itself, weighted by a softmax over the channels of the features."""

    def __init__(self, embed_dims: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(embed_dims + 1, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, embed_dims, 1)

    def forward(self, embedding: Tensor, masks: Tensor) -> Tensor:
        """(N, K, C, h, w) and masks (N, K, H, W) to (N, K, C, h, w)."""
        small = F.interpolate(masks, embedding.shape[-2:], mode="nearest").unsqueeze(2)
        both = torch.cat([small, embedding], 2).flatten(0, 1)  # N * K, 1 + C, h, w
        weights = self.conv2(self.conv1(both)).softmax(1)
        return weights.unflatten(0, masks.shape[:2]) * small


def _with_masks(images: Tensor, masks: Tensor, others: Tensor) -> Tensor:
    """Images (N, C, H, W), masks and others (N, K, H, W) as (N * K, 5, H, W)."""
    images = images.expand(-1, 3, -1, -1)
    return with_structures(images, masks.unsqueeze(2), others.unsqueeze(2))
