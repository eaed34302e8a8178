"""Classes of every pixel of one of the encoder's maps, as a decode head of mmseg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from echozoo.models.contracts import KeyMap
from echozoo.registry import MODELS


@MODELS.register_module()
class PixelHead(BaseDecodeHead):
    """One 1 x 1 convolution: for encoders that decode themselves, such as `UNet3D`.

    Args:
        in_channels: Of the map.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, in_index (the last), ...
    """

    published = (KeyMap({r"seg\.": "conv_seg."}),)

    def __init__(self, in_channels: int, **kwargs) -> None:
        super().__init__(in_channels, in_channels, **{"dropout_ratio": 0.0, **kwargs})

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map one of the maps, (N, C, H, W), to logits (N, K + 1, H, W)."""
        return self.cls_seg(self._transform_inputs(inputs))

    def fit_published(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """CLAS's convolution over one frame is one over pixels."""
        return {
            key: value[:, :, 0] if value.dim() == 5 else value for key, value in weights.items()
        }
