"""AutoSAM's prompts (arXiv 2306.06370): a second network looks at the image and writes a dense one.

::

    images -> HarDNet -> maps at 1/2, 1/4, 1/8, 1/16
    1/16 up, joined with 1/8, up, joined with 1/4 -> convolutions, tanh -> size of SAM's embedding
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.layers.norm import SyncBN
from echozoo.models.prompt_heads.base import SAMPromptHead, images_of
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import MODELS, PROMPT_HEADS


class Up(nn.Module):
    """Enlarge twofold, join, convolve twice with nothing between, norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels + out_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm = SyncBN(out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (N, C, h, w) and (N, C', 2h, 2w) to (N, C', 2h, 2w)."""
        x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
        return F.leaky_relu(self.norm(self.conv2(self.conv1(torch.cat([x, skip], 1)))))


@PROMPT_HEADS.register_module()
class DenseNetPromptHead(SAMPromptHead):
    """A network that looks at the image makes a dense prompt of each structure; no sparse ones.

    The published one is for a single structure; here the last convolution has one output of SAM's
    channels for each. SAM's prompt encoder is here as well: `embed` takes clicks, as SAM does.

    Args:
        num_structures: K.
        net: The network, a config; it says ``map_channels`` and gives maps at 1/2, 1/4, 1/8, 1/16.
        net_size: Height and width of the image that it sees; None is the input's.
        **sizes: See `SAMPromptHead`.
    """

    published = (
        *SAMPromptHead.published,
        KeyMap(
            {
                # A fifth stage and a norm that are never used.
                r"backbone\.base\.1[678]\.|decoder\.final\.BN2\.": None,
                r"backbone\.": "net.",
                r"decoder\.final\.conv1\.": "final.0.",
                r"decoder\.final\.BN1\.": "final.1.",
                r"decoder\.final\.conv2\.": "final.3.",
                r"decoder\.up": "up",
            },
            {".BN.": ".norm."},
            holds=r"(net|up\d|final)\..+",
            name="DenseNetPromptHead",
        ),
    )

    def __init__(
        self,
        num_structures: int = 1,
        net: dict | None = None,
        net_size: int | None = None,
        **sizes: int,
    ) -> None:
        super().__init__(**sizes)
        self.num_structures, self.net_size = num_structures, net_size
        self.net: nn.Module = MODELS.build(net or dict(type="HarDNet", num_maps=4))
        _, fourth, eighth, sixteenth = self.net.map_channels
        self.up1, self.up2 = Up(sixteenth, eighth), Up(eighth, fourth)
        self.final = nn.Sequential(
            nn.Conv2d(fourth, self.embed_dims, 3, padding=1),
            SyncBN(self.embed_dims),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.embed_dims, num_structures * self.embed_dims, 3, padding=1),
            nn.Tanh(),
        )

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Make dense prompts (N, K, C, h, w) out of the images, and sparse ones (N, K, 0, C)."""
        _, fourth, eighth, sixteenth = self.net(images_of(features, self, self.net_size))
        x = self.final(self.up2(self.up1(sixteenth, eighth), fourth))
        dense = F.interpolate(x, features.size, mode="bilinear", align_corners=True)
        dense = dense.unflatten(1, (self.num_structures, -1))  # N, K, C, h, w
        sparse = dense.new_zeros(*dense.shape[:2], 0, dense.shape[2])
        return sparse, dense, features
