"""Convolution along time, each channel and each position by itself."""

from __future__ import annotations

from torch import Tensor, nn

from echozoo.errors import ConfigError


class TimeConv(nn.Conv2d):
    """Depthwise convolution over the frames of each clip; zeros stand before and after a clip.

    It runs over (T, H * W) and not over (T, H, W): the same convolution, several times faster on
    a CPU.

    Args:
        channels: Channels of a token.
        kernel_size: Frames that it spans; odd, so that a clip keeps its length.

    Raises:
        ConfigError: The kernel is even.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        if kernel_size % 2 == 0:
            raise ConfigError(
                f"TimeConv: found kernel_size={kernel_size}, wants an odd number of frames, as "
                "many before a frame as after it"
            )
        super().__init__(
            channels, channels, (kernel_size, 1), padding=(kernel_size // 2, 0), groups=channels
        )

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Convolve (B * T, H, W, C) along T."""
        clips = x.reshape(-1, num_frames, x.shape[1] * x.shape[2], x.shape[3])  # B, T, H * W, C
        mixed = super().forward(clips.permute(0, 3, 1, 2))  # B, C, T, H * W
        return mixed.permute(0, 2, 3, 1).reshape(x.shape)  # B * T, H, W, C
