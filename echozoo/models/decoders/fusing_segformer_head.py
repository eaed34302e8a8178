"""mmseg's SegFormer head, whose fused map others may read as well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import SegformerHead
from torch import Tensor

from echozoo.registry import MODELS


@MODELS.register_module()
class FusingSegformerHead(SegformerHead):
    """SegFormer's head in two steps: fuse the maps, classify."""

    def fuse(self, maps: Sequence[Tensor]) -> Tensor:
        """Bring maps (N, C, h, w) of all sizes to one of the largest's, (N, channels, h, w)."""
        maps = self._transform_inputs(maps)
        size = maps[0].shape[-2:]
        projected = [
            F.interpolate(project(one), size, mode=self.interpolate_mode, align_corners=False)
            for project, one in zip(self.convs, maps, strict=True)
        ]
        return self.fusion_conv(torch.cat(projected, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Logits (N, classes, h, w) of the size of the first of the maps."""
        return self.cls_seg(self.fuse(maps))
