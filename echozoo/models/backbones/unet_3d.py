"""CLAS's network (Wei et al., MICCAI 2020): a U-Net whose convolutions look over time, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import DataError
from echozoo.models.contracts import KeyMap
from echozoo.registry import MODELS


def conv_stage(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two convolutions of 3 x 3 pixels and 3 frames, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for before in (in_channels, out_channels):
        layers += [nn.Conv3d(before, out_channels, 3, padding=1), nn.BatchNorm3d(out_channels)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


@MODELS.register_module()
class UNet3D(nn.Module):
    """Encoder and decoder over clips; pixels become fewer on the way down, frames do not.

    Args:
        in_channels: Channels of the images.
        widths: Channels of the levels, each at half the size of the one before.
        up_widths: Channels on the way up, the last at the images' size.
    """

    sees = "clip"
    stride = 1
    published = (
        KeyMap(
            {
                r"conv(\d)\.(?:convblock3d\.1\.)?convblock3d\.": r"down\1.",
                r"deconv(\d)\.(?:0\.)?convblock3d\.": r"up\1.",
                r"regular_grid": None,
            }
        ),
    )

    def __init__(
        self,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 256, 256),
        up_widths: Sequence[int] = (128, 64, 32, 32, 32),
    ) -> None:
        super().__init__()
        self.levels = len(up_widths)
        for level, pair in enumerate(zip((in_channels, *widths), widths, strict=False)):
            self.add_module(f"down{level}", conv_stage(*pair))
        before = widths[-1]
        for level, (skip, width) in enumerate(zip(widths[-2::-1], up_widths, strict=True), 1):
            self.add_module(f"up{level}", conv_stage(before + skip, width))
            before = width
        self.in_channels, self.out_channels = in_channels, before

    def forward(self, images: Tensor, num_frames: int = 1) -> tuple[Tensor]:
        """Look at clips.

        Args:
            images: (B * T, C, H, W), H and W multiples of 32 (of 2 to the number of levels on the
                way up).
            num_frames: T; 1 is legal.

        Returns:
            One map (B * T, E, H, W).

        Raises:
            DataError: H or W is no such multiple.
        """
        unit = 2**self.levels
        if images.shape[-2] % unit or images.shape[-1] % unit:
            raise DataError(
                f"UNet3D: found images of {tuple(images.shape[-2:])} (H, W), wants multiples of"
                f" {unit}; set image_size of the data set"
            )
        x = images.unflatten(0, (-1, num_frames)).transpose(1, 2)  # B, C, T, H, W
        skips = [self.down0(x)]
        for level in range(1, self.levels + 1):
            skips.append(self.get_submodule(f"down{level}")(F.max_pool3d(skips[-1], (1, 2, 2))))
        x = skips.pop()
        for level in range(1, self.levels + 1):
            x = torch.cat([_twice(x), skips.pop()], 1)
            x = self.get_submodule(f"up{level}")(x)
        return (x.transpose(1, 2).flatten(0, 1),)  # (B, E, T, H, W) -> (B * T, E, H, W)


def _twice(x: Tensor) -> Tensor:
    """Twice the height and width of (B, C, T, H, W), each frame by itself."""
    size = (x.shape[2], 2 * x.shape[3], 2 * x.shape[4])
    return F.interpolate(x, size, mode="trilinear", align_corners=False)
