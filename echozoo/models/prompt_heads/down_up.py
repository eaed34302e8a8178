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
        num_structures: K.
        widths: Channels of the maps at 1/2, 1/4, ... of the embedding's size.
        **sizes: See `SAMPromptHead`.
    """

    def __init__(
        self, num_structures: int = 3, widths: tuple[int, ...] = (256, 512), **sizes: int
    ) -> None:
        super().__init__(**sizes)
        self.num_structures = num_structures
        steps = list(pairwise((self.embed_dims, *widths)))
        self.down = nn.ModuleList(Down(*step) for step in steps)
        self.up = nn.ModuleList(Up(small, large) for large, small in reversed(steps))
        self.last = nn.Conv2d(self.embed_dims, num_structures * self.embed_dims, 3, padding=1)

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Make dense prompts (N, K, C, h, w) of the embedding, and sparse ones (N, K, 0, C)."""
        maps = [features.embedding]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in self.up:
            x = up(x, maps.pop())
        dense = self.last(x).unflatten(1, (self.num_structures, -1))  # N, K, C, h, w
        sparse = dense.new_zeros(*dense.shape[:2], 0, dense.shape[2])
        return sparse, dense, features
