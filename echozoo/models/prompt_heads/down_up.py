"""The auto-prompting SAM's prompts (arXiv 2308.14936): convolutions down and up the embedding."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.layers.norm import SyncBN
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompt_heads.dense_net import Up
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS


class Down(nn.Module):
    """Convolve with a stride of 2, norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = SyncBN(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', h / 2, w / 2), rounded up."""
        return F.leaky_relu(self.norm(self.conv(x)))


@PROMPT_HEADS.register_module()
class DownUpPromptHead(SAMPromptHead):
    """A small U-shaped network makes dense prompts of the embedding; it prompts itself.

    As described, since the paper came without code: convolutions make the image embedding smaller,
    then as large again, with skips, and the result is what the decoder is prompted with. That is
    a dense prompt a structure here, and images, not volumes. Clicks are taken too, as SAM does.

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
        num_structures: K.
        widths: Channels of the maps at 1/2, 1/4, ... of the embedding's size.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        img_size: int = 1024,
        embedding_size: int = 64,
        num_structures: int = 3,
        widths: tuple[int, ...] = (256, 512),
    ) -> None:
        super().__init__(embed_dims, img_size, embedding_size)
        self.num_structures = num_structures
        steps = list(pairwise((embed_dims, *widths)))
        self.down = nn.ModuleList(Down(*step) for step in steps)
        self.up = nn.ModuleList(Up(small, large) for large, small in reversed(steps))
        self.last = nn.Conv2d(embed_dims, num_structures * embed_dims, 3, padding=1)

    def embed(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Features]:
        """Make dense prompts of the embedding, or embed prompts that are given, as SAM does.

        Args:
            features: Of N images, (N, C, h, w); returned as they are.
            prompts: Empty, or as for `SAMPromptHead.embed`.
            output_tokens: The decoder's; not used.

        Returns:
            sparse (N, K, 0, C), dense (N, K, C, h, w) and the features.
        """
        if prompts.kinds:
            return super().embed(features, prompts)
        maps = [features.embedding]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in self.up:
            x = up(x, maps.pop())
        dense = self.last(x).unflatten(1, (self.num_structures, -1))  # N, K, C, h, w
        sparse = dense.new_zeros(*dense.shape[:2], 0, dense.shape[2])
        return sparse, dense, features
