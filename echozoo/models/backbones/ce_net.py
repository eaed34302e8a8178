"""CE-Net's encoder (arXiv 1903.02740): torchvision's ResNet-34 without its head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from echozoo.models.backbones.resnet_trunk import TORCHVISION, stage_of
from echozoo.models.layers.norm import SyncBN
from echozoo.registry import MODELS


@MODELS.register_module()
class CENetEncoder(nn.Module):
    """ResNet of basic blocks (arXiv 1512.03385) that hands out the maps of its four stages.

    Names and shapes of the defaults are those of torchvision's ``resnet34``, so that its ImageNet
    weights fit: ``conv1``, ``bn1``, ``layer1`` to ``layer4``.

    Args:
        layers: Blocks of each stage.
        base_channels: Channels of the stem and of the first stage; each further one doubles them.
    """

    published = (TORCHVISION,)

    def __init__(self, layers: Sequence[int] = (3, 4, 6, 3), base_channels: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, base_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = SyncBN(base_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage_of(BasicBlock, base_channels, base_channels, layers[0], stride=1)
        self.layer2 = stage_of(BasicBlock, base_channels, 2 * base_channels, layers[1])
        self.layer3 = stage_of(BasicBlock, 2 * base_channels, 4 * base_channels, layers[2])
        self.layer4 = stage_of(BasicBlock, 4 * base_channels, 8 * base_channels, layers[3])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode images.

        Args:
            images: (N, 3, H, W).

        Returns:
            Maps (N, C, H / 4, W / 4), (N, 2C, H / 8, W / 8), (N, 4C, H / 16, W / 16) and
            (N, 8C, H / 32, W / 32), C the base channels; sides that 32 does not divide are
            rounded up.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)
