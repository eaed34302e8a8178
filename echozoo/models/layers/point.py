"""A named place in a block, where features pass and others may be put in."""

from __future__ import annotations

from torch import nn


class Point(nn.Identity):
    """Does nothing, with features (N, H, W, C); `echozoo.models.inserts` finds it by its name."""

    layout = "nhwc"
