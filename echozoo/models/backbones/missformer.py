"""MISSFormer's encoder and bridge (arXiv 2109.07162): maps of four sizes that attend to each other.

::

    images -> four stages of overlapping patches and blocks -> maps at 1/4, 1/8, 1/16, 1/32
    maps -> rows of as many numbers as the first map has channels, one sequence -> four bridge
            layers: attention between all rows, an MLP for each map's -> maps
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.mix_block import (
    PUBLISHED_NAMES,
    MixBlock,
    MixSkipFFN,
    ReducedAttention,
    to_map,
    to_tokens,
)
from echozoo.registry import MODELS

# Of the four stages: channels as multiples of the first's (heads too), and sides of the squares
# that become one key.
MULTIPLES = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
STRIDE = 32


class PatchEmbed(nn.Module):
    """Overlapping patches of a map, each to a token."""

    def __init__(self, in_channels: int, embed_dims: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor) -> tuple[Tensor, torch.Size]:
        """Map (N, C, H, W) to tokens (N, h * w, C') and their size (h, w)."""
        x = self.proj(x)
        return self.norm(to_tokens(x)), x.shape[-2:]


class Stage(nn.Module):
    """Patches, blocks, a norm.

    Args:
        embed: Makes the tokens.
        blocks: Change them.
        embed_dims: Their channels.
    """

    def __init__(self, embed: PatchEmbed, blocks: Sequence[MixBlock], embed_dims: int) -> None:
        super().__init__()
        self.embed, self.blocks = embed, nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', h, w)."""
        tokens, size = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens, size)
        return to_map(self.norm(tokens), size)


class BridgeAttention(ReducedAttention):
    """Attention from the rows of all maps to the rows of the maps reduced to one size.

    Args:
        row_dims: Numbers of a row.
        embed_dims: Channels of the maps.
    """

    def __init__(self, row_dims: int, embed_dims: Sequence[int]) -> None:
        super().__init__(row_dims, num_heads=1)
        self.reduce = nn.ModuleList(
            nn.Conv2d(dims, dims, side, side)
            for dims, side in zip(embed_dims, REDUCTIONS, strict=True)
            if side > 1
        )
        self.norm = nn.LayerNorm(row_dims)

    def forward(self, x: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
        """Let rows (N, n, C) of maps of ``sizes`` (h, w) each attend to the reduced ones."""
        *maps, last = _split(x, sizes)
        reduced = [
            # As published, the channels of a reduced map are cut in another order than a map's:
            # a row takes every so many-th channel of a place.
            reduce(to_map(rows, size)).reshape(len(x), x.shape[-1], -1).transpose(1, 2)
            for reduce, rows, size in zip(self.reduce, maps, sizes, strict=False)
        ]
        reduced.append(last.reshape(len(x), -1, x.shape[-1]))
        return self.attend(x, self.norm(torch.cat(reduced, 1)))


class BridgeLayer(nn.Module):
    """Attention between the rows of all maps, then an MLP for each map's."""

    def __init__(self, row_dims: int, embed_dims: Sequence[int]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(row_dims)
        self.attn = BridgeAttention(row_dims, embed_dims)
        self.norm2 = nn.LayerNorm(row_dims)
        self.mlps = nn.ModuleList(map(MixSkipFFN, embed_dims))

    def forward(self, x: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
        """Map rows (N, n, C) of maps of ``sizes`` (h, w) each to the same shape."""
        x = x + self.attn(self.norm1(x), sizes)
        maps = _split(self.norm2(x), sizes)
        changed = [
            mlp(tokens, size) for mlp, tokens, size in zip(self.mlps, maps, sizes, strict=True)
        ]
        return x + _joined(changed, x.shape[-1])


@MODELS.register_module()
class MISSFormerEncoder(nn.Module):
    """MISSFormer's encoder and its bridge.

    Args:
        embed_dims: Channels of the first stage; the others have 2, 5 and 8 times as many.
        depth: Blocks of a stage.
        bridge_depth: Layers of the bridge.
    """

    sees = "frame"
    published = (
        KeyMap(
            {
                # Norms that are never used.
                r"(backbone|bridge)\..+\.(mlp|mixffn\d)\.norm[23]\.": None,
                **{rf"backbone\.patch_embed{i + 1}\.": f"stages.{i}.embed." for i in range(4)},
                **{rf"backbone\.block{i + 1}\.": f"stages.{i}.blocks." for i in range(4)},
                **{rf"backbone\.norm{i + 1}\.": f"stages.{i}.norm." for i in range(4)},
                **{rf"bridge\.bridge_layer{i + 1}\.": f"bridge.{i}." for i in range(4)},
            },
            {
                **PUBLISHED_NAMES,
                ".scale_reduce.sr": ".reduce.",
                ".scale_reduce.norm.": ".norm.",
                **{f".mixffn{i + 1}.": f".mlps.{i}." for i in range(4)},
            },
        ),
    )

    def __init__(self, embed_dims: int = 64, depth: int = 2, bridge_depth: int = 4) -> None:
        super().__init__()
        self.row_dims = embed_dims
        dims = [embed_dims * multiple for multiple in MULTIPLES]
        self.stages = nn.ModuleList()
        for index, (before, here) in enumerate(zip((3, *dims), dims, strict=False)):
            kernel, stride = (3, 2) if index else (7, 4)
            blocks = [MixBlock(here, MULTIPLES[index], REDUCTIONS[index]) for _ in range(depth)]
            self.stages.append(Stage(PatchEmbed(before, here, kernel, stride), blocks, here))
        self.bridge = nn.ModuleList(BridgeLayer(embed_dims, dims) for _ in range(bridge_depth))
        self.out_channels, self.stride = dims[-1], STRIDE

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: (N, 3, H, W), or (N, 1, H, W), which stands for three equal channels.

        Returns:
            Four maps (N, C, H / s, W / s) for the strides s = 4, 8, 16, 32.

        Raises:
            ConfigError: A side of the images is no multiple of 32.
        """
        maps = self.encode(images)
        sizes = [one.shape[-2:] for one in maps]
        rows = _joined([to_tokens(one) for one in maps], self.row_dims)
        for layer in self.bridge:
            rows = layer(rows, sizes)
        return tuple(map(to_map, _split(rows, sizes), sizes))

    def encode(self, images: Tensor) -> list[Tensor]:
        """The maps before the bridge, of images as for `forward`."""
        height, width = images.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ConfigError(
                f"MISSFormerEncoder: found an input of {height} x {width} pixels, wants multiples "
                f"of {STRIDE}; resize or pad the clip"
            )
        maps, x = [], images.expand(-1, 3, -1, -1)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _joined(maps: Sequence[Tensor], row_dims: int) -> Tensor:
    """Cut the tokens (N, h * w, C) of each map into rows: (N, n, row_dims), place by place."""
    return torch.cat([tokens.reshape(len(tokens), -1, row_dims) for tokens in maps], 1)


def _split(rows: Tensor, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Put rows (N, n, row_dims) together to the tokens (N, h * w, C) of each map again."""
    places = [h * w for h, w in sizes]
    counts = [count * multiple for count, multiple in zip(places, MULTIPLES, strict=True)]
    return [
        part.reshape(len(rows), count, -1)
        for part, count in zip(rows.split(counts, 1), places, strict=True)
    ]
