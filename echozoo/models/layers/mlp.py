"""Layers that see one token at a time: linear, GELU, linear."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


class MLP(nn.Sequential):
    """Map tokens (..., C) to (..., C) by way of a greater width; names are as in SAM's blocks."""

    def __init__(self, embed_dims: int, hidden: int) -> None:
        lin1, lin2 = nn.Linear(embed_dims, hidden), nn.Linear(hidden, embed_dims)
        super().__init__(OrderedDict(lin1=lin1, act=nn.GELU(), lin2=lin2))


class FeatureAdapter(nn.Sequential):
    """Map tokens (..., C) to (..., C) through a bottleneck; the caller adds the skip or leaves it.

    Args:
        embed_dims: Channels of a token.
        ratio: Width of the bottleneck as a part of the channels.
    """

    def __init__(self, embed_dims: int, ratio: float = 0.25) -> None:
        hidden = int(embed_dims * ratio)
        down, up = nn.Linear(embed_dims, hidden), nn.Linear(hidden, embed_dims)
        super().__init__(OrderedDict(down=down, act=nn.GELU(), up=up))
