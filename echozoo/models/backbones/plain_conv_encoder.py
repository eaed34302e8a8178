"""The encoder of nnU-Net's plain convolutional U-Net (Isensee et al., Nature Methods 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.plain_conv import conv_stage, initialise_he
from echozoo.registry import MODELS


@MODELS.register_module()
class PlainConvEncoder(nn.Module):
    """Stages of two convolutions, each but the first at half the size of the one before.

    Args:
        in_channels: Channels of the images.
        widths: Channels of the stages; nnU-Net doubles them up to 512 and plans as many stages as
            leave 4 to 7 pixels a side at the bottom.
    """

    sees = "frame"
    published: tuple[KeyMap, ...] = (
        KeyMap(
            {
                # Every tensor has a second name.
                r"encoder\.stages\.\d+\.0\.convs\.\d+\.all_modules\.": None,
                r"encoder\.stages\.(\d+)\.0\.convs\.": r"stages.\1.",
            },
            holds=r"stages\..+",
        ),
    )

    def __init__(
        self,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512, 512),
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            conv_stage(before, width, 2 if index else 1)
            for index, (before, width) in enumerate(
                zip((in_channels, *widths[:-1]), widths, strict=True)
            )
        )
        self.in_channels, self.out_channels = in_channels, widths[-1]
        self.stride = 2 ** (len(widths) - 1)
        initialise_he(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: (N, C, H, W).

        Returns:
            A map of each stage, (N, width, H / s, W / s) for the strides s = 1, 2, 4, ...

        Raises:
            ConfigError: A side of the images is no multiple of the last stride.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ConfigError(
                f"{type(self).__name__}: found an input of {height} x {width} pixels, wants "
                f"multiples of {self.stride}, as {len(self.stages)} stages halve it; resize the "
                "clip or give fewer widths"
            )
        maps = []
        x = images
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)
