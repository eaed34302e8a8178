"""LIA: the local information attention of the document tra.txt, also called H-W block there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.layers.norm import build_norm
from echozoo.registry import MODELS


@MODELS.register_module()
class LIA(nn.Module):
    """Local information attention: gates for rows and for columns, from 1-D encodings of both.

    Coordinate attention (arXiv 2103.02907), which the document names as its source::

        x (C, H, W) -> mean over W (C, H), mean over H (C, W)
                    -> one after the other (C, H + W) -> 1 x 1, norm, h-swish -> apart again
                    -> 1 x 1, sigmoid: a_h (C, H) and a_w (C, W)
        y = x * a_h * a_w

    A row's gate comes from the mean of that row, a column's from the mean of that column: far
    reach along one axis, an exact place along the other.

    Args:
        in_channels: Channels in and out.
        reduction: How many times fewer channels the encodings have.
        min_channels: The least that they have.
        norm_cfg: Norm of the encodings (see `build_norm`): "BN", "GN", "LN2d" ...

    Raises:
        ConfigError: There is no such norm, or its settings do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 32,
        min_channels: int = 8,
        norm_cfg: Mapping = {"type": "BN"},
    ) -> None:
        super().__init__()
        hidden = max(min_channels, in_channels // reduction)
        self.encode = nn.Conv2d(in_channels, hidden, 1)
        self.norm = build_norm(norm_cfg, hidden)
        self.gate_rows = nn.Conv2d(hidden, in_channels, 1)
        self.gate_columns = nn.Conv2d(hidden, in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        rows = x.mean(3, keepdim=True)  # N, C, H, 1
        columns = x.mean(2, keepdim=True).transpose(2, 3)  # N, C, W, 1
        both = torch.cat([rows, columns], 2)  # N, C, H + W, 1
        both = F.hardswish(self.norm(self.encode(both)))
        rows, columns = both.split(x.shape[2:], 2)
        row_gates = self.gate_rows(rows).sigmoid()  # N, C, H, 1
        column_gates = self.gate_columns(columns.transpose(2, 3)).sigmoid()  # N, C, 1, W
        return x * row_gates * column_gates
