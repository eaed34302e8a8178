"""ResNets up to their third stage: the key encoders of STM, STCN and XMem."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.norm import SyncBN
from echozoo.registry import MODELS

# Torchvision's files, which name the layers as this project does.
TORCHVISION = KeyMap({r"fc\.": None, r"(conv1|bn1|layer\d)\.": r"\g<0>"})

# Block and number of blocks of each stage (arXiv 1512.03385, table 1).
_ARCHS = {18: (BasicBlock, (2, 2, 2)), 50: (Bottleneck, (3, 4, 6))}


@MODELS.register_module()
class ResNetTrunk(nn.Module):
    """Stem and first stages of a ResNet, under torchvision's names.

    Its batch norms never train nor follow the data: clips are too few for that.

    Args:
        depth: 18 or 50.
        in_channels: Channels of the input.
        stages: How many of the stages, up to 3.
        base_channels: Channels of the stem.
        bias: Whether convolutions have a bias, as in STCN's value encoder.
        blocks: Blocks of each stage; None: as many as the depth says.
    """

    sees = "frame"
    published = (
        KeyMap({r"layer4\.": None, **TORCHVISION.claims}),
        KeyMap({r"key_encoder\.res2\.": "layer1.", r"key_encoder\.": ""}),  # STCN, XMem
        KeyMap(  # STM
            {
                r"Encoder_Q\.(mean|std)": None,
                **{rf"Encoder_Q\.res{i + 1}\.": f"layer{i}." for i in (1, 2, 3)},
                r"Encoder_Q\.": "",
            }
        ),
    )

    def __init__(
        self,
        depth: int = 50,
        in_channels: int = 3,
        stages: int = 3,
        base_channels: int = 64,
        bias: bool = False,
        blocks: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if depth not in _ARCHS or not 1 <= stages <= 3:
            raise ConfigError(
                f"ResNetTrunk: found depth={depth}, stages={stages}, wants one of "
                f"{tuple(_ARCHS)} and 1 to 3"
            )
        block, counts = _ARCHS[depth]
        counts = blocks or counts
        self.conv1 = nn.Conv2d(in_channels, base_channels, 7, 2, padding=3, bias=bias)
        self.bn1 = SyncBN(base_channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        width = base_channels
        for stage in range(stages):
            channels = base_channels * 2**stage
            layer = stage_of(block, width, channels, counts[stage], stride=1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", layer)
            width = channels * block.expansion
        if bias:
            _add_biases(self)
        self.stages = stages
        self.stride = 2 ** (stages + 1)
        self.out_channels = width
        self.train()

    def forward(self, images: Tensor, num_frames: int = 1) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: (N, C, H, W); one channel stands for three equal ones.
            num_frames: Not used.

        Returns:
            A map of each stage, from (N, C1, H / 4, W / 4) to a stride of 16.
        """
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        x = self.maxpool(self.bn1(self.conv1(images)).relu())
        maps = []
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
            maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> ResNetTrunk:
        """Set the mode of all but the batch norms, which stay as they are when testing."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def stage_of(block: type, width: int, channels: int, count: int, stride: int = 2) -> nn.Sequential:
    """Build a stage of a ResNet: (N, width, H, W) to (N, C', H / stride, W / stride).

    Args:
        block: `BasicBlock` or `Bottleneck`, whose ``expansion`` C' is times ``channels``.
        width: Channels in.
        channels: Channels inside the blocks.
        count: Blocks.
        stride: Of the first.
    """
    out = channels * block.expansion
    shortcut = None
    if stride > 1 or width != out:
        shortcut = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), SyncBN(out))
    first = block(width, channels, stride, shortcut, norm_layer=SyncBN)
    rest = (block(out, channels, norm_layer=SyncBN) for _ in range(count - 1))
    return nn.Sequential(first, *rest)


def _add_biases(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            module.bias = nn.Parameter(module.weight.new_zeros(module.out_channels))
