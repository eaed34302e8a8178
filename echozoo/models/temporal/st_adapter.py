"""STAdapter: the temporal adapter that tra.txt compares TRA with."""

from __future__ import annotations

from torch import Tensor, nn

from echozoo.models.layers.time_conv import TimeConv
from echozoo.registry import TEMPORAL_MODULES


@TEMPORAL_MODULES.register_module()
class STAdapter(nn.Module):
    """ST-Adapter: a bottleneck over channels with a depthwise convolution along time in it.

    ``x + up(conv(down(x)))`` (arXiv 2206.13559), without an activation, as its authors' code has
    it. The convolution and the biases start at zero, so that the module starts as identity. A
    single frame (T = 1) sees zeros before and after itself.

    Args:
        embed_dims: Channels of the features.
        bottleneck: Channels of the bottleneck; None is half of ``embed_dims``: 384 for ViT-B, as
            in the paper.
        kernel_size: Frames that the convolution spans; odd.

    Raises:
        ConfigError: The kernel is even.
    """

    def __init__(
        self, embed_dims: int, bottleneck: int | None = None, kernel_size: int = 3
    ) -> None:
        super().__init__()
        hidden = bottleneck or embed_dims // 2
        self.down = nn.Linear(embed_dims, hidden)
        self.mix = TimeConv(hidden, kernel_size)
        self.up = nn.Linear(hidden, embed_dims)
        for start in (self.down.bias, self.mix.weight, self.mix.bias, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Let the frames of each clip exchange features (B * T, H, W, C)."""
        return x + self.up(self.mix(self.down(x), num_frames))
