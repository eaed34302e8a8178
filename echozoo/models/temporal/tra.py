"""TRA: the temporal module of the document tra.txt."""

from __future__ import annotations

from torch import Tensor, nn

from echozoo.models.layers.norm import SyncBN
from echozoo.models.layers.time_conv import TimeConv
from echozoo.registry import TEMPORAL_MODULES


@TEMPORAL_MODULES.register_module()
class TRA(nn.Module):
    """Temporal relation aggregation: each position gathers from the frames before and after.

    UniFormerV2's local attention (arXiv 2211.09552): batch norm, 1 x 1, depthwise convolution
    along time, 1 x 1, added to what came in. The last layer starts at zero, so that the module
    starts as identity. A single frame (T = 1) sees zeros before and after itself.

    Args:
        embed_dims: Channels of the features.
        reduction: How many times fewer channels the convolution along time has.
        kernel_size: Frames that it spans; odd.
    """

    def __init__(self, embed_dims: int, reduction: float = 1.5, kernel_size: int = 3) -> None:
        super().__init__()
        hidden = int(embed_dims / reduction)
        self.norm = SyncBN(embed_dims)
        self.reduce = nn.Linear(embed_dims, hidden)
        self.mix = TimeConv(hidden, kernel_size)
        self.expand = nn.Linear(hidden, embed_dims)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Let the frames of each clip exchange features (B * T, H, W, C)."""
        rows = x.reshape(-1, x.shape[-1])  # B * T * H * W, C
        normed = self.norm(rows).view(x.shape)  # B * T, H, W, C
        return x + self.expand(self.mix(self.reduce(normed), num_frames))
