"""The decoder of nnU-Net's plain convolutional U-Net as a decode head of mmseg."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.plain_conv import conv_stage, initialise_he
from echozoo.registry import MODELS


@MODELS.register_module()
class PlainConvHead(BaseDecodeHead):
    """Enlarge, join with the encoder's map, convolve twice; logits at every size.

    In training the logits of all sizes are compared with the labels (deep supervision), the full
    size with weight 1, each smaller one with half the weight of the one before, the smallest with
    none; the weights add up to 1. A prediction is the full size's.

    Args:
        in_channels: Channels of the encoder's maps, from the largest map to the smallest.
        widths: Channels after each step up, from the largest map; None is those of the encoder's
            maps, which nnU-Net has.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, ...

    Raises:
        ConfigError: There is not one width less than maps.
    """

    published = (
        KeyMap(
            {
                # Every tensor has a second name, and the encoder is here once more.
                r"decoder\.encoder\.|decoder\.stages\.\d+\.convs\.\d+\.all_modules\.": None,
                r"decoder\.stages\.(\d+)\.convs\.": r"stages.\1.",
                r"decoder\.": "",
            }
        ),
    )

    def __init__(
        self,
        in_channels: Sequence[int] = (32, 64, 128, 256, 512, 512, 512),
        widths: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        widths = tuple(in_channels[:-1] if widths is None else widths)
        if len(widths) != len(in_channels) - 1:
            raise ConfigError(
                f"PlainConvHead: found {len(widths)} widths for {len(in_channels)} maps, wants "
                f"{len(in_channels) - 1}: one for each map but the smallest"
            )
        super().__init__(
            in_channels,
            widths[0],
            dropout_ratio=0.0,
            in_index=tuple(range(len(in_channels))),
            input_transform="multiple_select",
            align_corners=False,
            init_cfg=None,  # mmseg would draw its last layer anew
            **kwargs,
        )
        del self.conv_seg  # a layer for each size in its place
        below = (*widths[1:], in_channels[-1])
        sizes = list(zip(below, in_channels, widths, strict=False))[::-1]  # the smallest first
        self.transpconvs = nn.ModuleList(nn.ConvTranspose2d(b, w, 2, 2) for b, _, w in sizes)
        self.stages = nn.ModuleList(conv_stage(w + skip, w) for _, skip, w in sizes)
        self.seg_layers = nn.ModuleList(nn.Conv2d(w, self.num_classes, 1) for _, _, w in sizes)
        initialise_he(self)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Decode a pyramid.

        Args:
            maps: (N, C, h, w) from the largest to the smallest, each half as large.

        Returns:
            Logits (N, num_classes, H, W) of the size of the first map.
        """
        return self.seg_layers[-1](self._decoded(maps)[-1])

    def logits_of_all_sizes(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Decode a pyramid (as for `forward`) to logits of every size but the smallest map's.

        Returns:
            (N, num_classes, h, w), the full size first.
        """
        decoded = self._decoded(maps)
        return [layer(x) for layer, x in zip(self.seg_layers, decoded, strict=True)][::-1]

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: list[SegDataSample], train_cfg: dict
    ) -> dict[str, Tensor]:
        """Compare the logits of all sizes with the labels, which are thinned out to each size.

        Args:
            inputs: The encoder's maps.
            batch_data_samples: N samples with labels (1, H, W).
            train_cfg: mmseg's; not used.

        Returns:
            Each loss and mmseg's accuracy, by name, their weighted sum over the sizes.
        """
        sizes = self.logits_of_all_sizes(inputs)
        losses: dict[str, Tensor] = {}
        for weight, logits in zip(_weights(len(sizes)), sizes, strict=True):
            samples = [_thinned(sample, logits.shape[-2:]) for sample in batch_data_samples]
            for name, value in self.loss_by_feat(logits, samples).items():
                losses[name] = losses.get(name, 0) + weight * value
        return losses

    def _decoded(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The map after each step up, the smallest first."""
        *skips, x = self._transform_inputs(maps)
        decoded = []
        for enlarge, stage, skip in zip(self.transpconvs, self.stages, skips[::-1], strict=True):
            x = stage(torch.cat([enlarge(x), skip], 1))
            decoded.append(x)
        return decoded


def _weights(sizes: int) -> list[float]:
    weights = [0.5**size for size in range(sizes)]
    if sizes > 1:
        weights[-1] = 0.0
    return [weight / sum(weights) for weight in weights]


def _thinned(sample: SegDataSample, size: torch.Size) -> SegDataSample:
    labels = sample.gt_sem_seg.data[None].float()  # 1, 1, H, W
    small = F.interpolate(labels, size, mode="nearest-exact")[0].long()
    return SegDataSample(gt_sem_seg=PixelData(data=small))
