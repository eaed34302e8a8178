"""MSFF: the multi-scale feature fusion of the document autosamus.txt."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.layers.norm import build_norm
from echozoo.registry import MODELS


@MODELS.register_module()
class MSFF(nn.Module):
    """Multi-scale feature fusion: dilated convolutions in a chain, each seeing further.

    With B0 a 1 x 1 convolution, B1, B2, B3 dilated 3 x 3 ones (each with its norm) and
    ``s = conv(x)`` a plain 1 x 1 (autosamus.txt, section 4.3)::

        y = ReLU(B0(x) + B3(s + B2(s + B1(s))))

    A position sees 2 * sum(dilations) + 1 positions along each axis, 73 by default.

    Args:
        in_channels: Channels in.
        out_channels: Channels out; None is as many as in.
        dilations: Of the 3 x 3 convolutions, in the order of the chain; one at least.
        norm_cfg: Norm after each convolution (see `build_norm`): "BN", "GN", "LN2d" ...
        act_cfg: Activation after each norm, such as ``dict(type="ReLU")``; None is none. The
            document calls its blocks ``BasicConv2d`` and does not show them.

    Raises:
        ConfigError: Dilations below 1, or a norm that does not exist or fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        dilations: Sequence[int] = (6, 12, 18),
        norm_cfg: Mapping = {"type": "BN"},
        act_cfg: Mapping | None = None,
    ) -> None:
        super().__init__()
        if not dilations or min(dilations) < 1:
            raise ConfigError(f"MSFF: found dilations={dilations!r}, wants one or more, from 1 up")
        channels = out_channels or in_channels
        block = functools.partial(_conv_block, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.direct = block(in_channels, channels, kernel_size=1)
        self.squeeze = nn.Conv2d(in_channels, channels, 1)
        self.chain = nn.ModuleList(
            block(channels, channels, kernel_size=3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W)."""
        squeezed = self.squeeze(x)
        fused = self.chain[0](squeezed)
        for block in self.chain[1:]:
            fused = block(squeezed + fused)
        return F.relu(self.direct(x) + fused)


def _conv_block(
    in_channels: int,
    out_channels: int,
    *,
    norm_cfg: Mapping,
    act_cfg: Mapping | None,
    **sizes,
) -> nn.Sequential:
    layers = [
        nn.Conv2d(in_channels, out_channels, bias=False, **sizes),
        build_norm(norm_cfg, out_channels),
    ]
    if act_cfg is not None:
        layers.append(build_activation_layer(dict(act_cfg)))
    return nn.Sequential(*layers)
