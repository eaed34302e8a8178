"""The CNN that SAMUS puts beside SAM's ViT, and its position adapter (arXiv 2309.06824)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.layers.derived import Derived
from echozoo.models.layers.norm import ChannelNorm
from echozoo.models.layers.recomputation import recomputed


class ConvStage(nn.Module):
    """A 3 x 3 convolution, channel norm and GELU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = ChannelNorm(out_channels)

    def forward(self, x: Tensor, pool: bool = False) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W), or by max pooling to half the height and width."""
        return recomputed(self._activate_and_pool if pool else self._activate, self.conv(x))

    def _activate(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(x))

    def _activate_and_pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self._activate(x), 2)


class ConvBranch(nn.Module):
    """The CNN beside the ViT: a stage at full size, then one for each halving.

    Args:
        in_channels: Channels of the image.
        channels: Channels of each stage; the output is 2 ** (len(channels) - 1) times smaller.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = ConvStage(in_channels, channels[0])
        self.downs = nn.Sequential(
            *(
                ConvStage(before, after)
                for before, after in zip(channels[:-1], channels[1:], strict=True)
            )
        )

    def forward(self, images: Tensor, plugins: Mapping[str, nn.Module] | None = None) -> Tensor:
        """Extract features.

        Args:
            images: (N, 3, H, W).
            plugins: What each stage's features go through before the next: by the stage's
                number, the stem's being "0", modules that keep the shape.

        Returns:
            (N, C, h, w).
        """
        x, stages, plugins = images, (self.stem, *self.downs), plugins or {}
        for number, stage in enumerate(stages):
            pool, plugged = number + 1 < len(stages), str(number) in plugins
            x = stage(x, pool and not plugged)
            if plugged:
                x = plugins[str(number)](x)
                x = F.max_pool2d(x, 2) if pool else x
        return x


class PositionAdapter(nn.Module):
    """Shrink SAM's table of absolute positions to a smaller grid, learnably.

    Args:
        embed_dims: Channels of the table.
        num_halvings: Stages, each halving height and width; 0 leaves the table as it is.
    """

    def __init__(self, embed_dims: int, num_halvings: int) -> None:
        super().__init__()
        self.downs = nn.Sequential(
            *(ConvStage(embed_dims, embed_dims) for _ in range(num_halvings))
        )
        self._table = Derived()

    def forward(self, table: Tensor) -> Tensor:
        """Map a table (1, S, S, C), a parameter, to (1, s, s, C)."""
        return self._table([table, *self.parameters()], lambda: self._shrink(table))

    def train(self, mode: bool = True) -> PositionAdapter:
        """Change the mode; the table that was kept is forgotten."""
        self._table.forget()
        return super().train(mode)

    def _shrink(self, table: Tensor) -> Tensor:
        x = table.permute(0, 3, 1, 2)  # 1, C, S, S
        for down in self.downs:
            x = down(F.max_pool2d(x, 2))
        return x.permute(0, 2, 3, 1)  # 1, s, s, C
