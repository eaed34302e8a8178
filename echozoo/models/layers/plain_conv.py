"""What encoder and decoder of nnU-Net's plain convolutional U-Net are made of."""

from __future__ import annotations

from torch import Tensor, nn

SLOPE = 0.01  # of the leaky ReLUs


class ConvNorm(nn.Module):
    """3 x 3 convolution, norm of each image and channel by itself, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.norm = nn.InstanceNorm2d(out_channels, affine=True)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        return self.act(self.norm(self.conv(x)))


def conv_stage(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Two convolutions, the first with the stride."""
    first = ConvNorm(in_channels, out_channels, stride)
    return nn.Sequential(first, ConvNorm(out_channels, out_channels))


def initialise_he(module: nn.Module) -> None:
    """Draw all convolutions below a module as nnU-Net does: He's normal, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, a=SLOPE)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
