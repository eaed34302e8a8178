"""The mask decoder of STM, STCN and XMem: from what a memory says of a frame up to a mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.layers.fusion import PreActBlock
from echozoo.models.prompts import Features
from echozoo.registry import MODELS


@MODELS.register_module()
class MemoryMaskDecoder(nn.Module):
    """Three scales of a ResNet, the coarsest replaced by what the memory says.

    Args:
        in_channels: Channels of the memory's prompt.
        widths: Channels at strides 16, 8 and 4.
        skip_channels: Channels of the encoder's maps at strides 8 and 4.
        compress: What makes the prompt as wide as the first of ``widths``: "block" (STCN), "conv"
            with a block after it (STM), None for a prompt that is (XMem).
        refine_skips: Whether a skip goes through a block, too (STM).
        num_outputs: 1 logit, or 2 whose difference it is (STM).
        senses: Whether to hand out the maps of all scales, for the memory's sensory state.
    """

    published = (
        KeyMap(  # STM; STCN and XMem name its layers as this project does
            {
                r"Decoder\.convFM\.": "compress.0.",
                r"Decoder\.ResMM\.": "compress.1.",
                r"Decoder\.RF3\.": "up_16_8.",
                r"Decoder\.RF2\.": "up_8_4.",
                r"Decoder\.pred2\.": "pred.",
            },
            {".convFS.": ".skip_conv.", ".ResFS.": ".skip_block.", ".ResMM.": ".out_conv."},
        ),
    )

    def __init__(
        self,
        in_channels: int = 512,
        widths: Sequence[int] = (512, 256, 256),
        skip_channels: Sequence[int] = (512, 256),
        compress: str | None = None,
        refine_skips: bool = False,
        num_outputs: int = 1,
        senses: bool = False,
    ) -> None:
        super().__init__()
        first = widths[0]
        self.compress = {
            None: nn.Identity,
            "block": lambda: PreActBlock(in_channels, first),
            "conv": lambda: nn.Sequential(
                nn.Conv2d(in_channels, first, 3, padding=1), PreActBlock(first, first)
            ),
        }[compress]()
        self.up_16_8 = _Up(skip_channels[0], first, widths[1], refine_skips)
        self.up_8_4 = _Up(skip_channels[1], widths[1], widths[2], refine_skips)
        self.pred = nn.Conv2d(widths[2], num_outputs, 3, padding=1)
        self.senses = senses

    def output_tokens(self) -> None:
        """It has none: prompts reach it through a memory."""

    def forward(
        self, features: Features, dense_pe: Tensor | None, sparse: Tensor | None, dense: Tensor
    ) -> tuple:
        """Decode K structures of N frames.

        Args:
            features: Maps at strides 4, 8 and 16.
            dense_pe: Not used.
            sparse: Not used.
            dense: What the memory says (N, K, C, h, w).

        Returns:
            Logits (N, K, 1, 4h, 4w), None for their quality, and where it ``senses`` the maps
            (N, K, C, h, w) of strides 16, 8, 4 and the logits again.
        """
        shape = dense.shape[:2]
        fine, middle = features.maps[-3], features.maps[-2]
        g16 = self.compress(dense.flatten(0, 1))  # N * K, C, h, w
        g8 = self.up_16_8(middle, g16)
        g4 = self.up_8_4(fine, g8)
        logits = self.pred(g4.relu())
        if logits.shape[1] == 2:
            logits = logits[:, 1:] - logits[:, :1]
        maps = [one.unflatten(0, shape) for one in (g16, g8, g4, logits)]
        if self.senses:
            return maps[-1], None, maps
        return maps[-1], None


class _Up(nn.Module):
    """Twice the size, with a skip of the encoder, which all structures of an image share."""

    def __init__(self, skip_channels: int, in_channels: int, channels: int, refine: bool) -> None:
        super().__init__()
        self.skip_conv = nn.Conv2d(skip_channels, in_channels, 3, padding=1)
        self.skip_block = PreActBlock(in_channels, in_channels) if refine else nn.Identity()
        self.out_conv = PreActBlock(in_channels, channels)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """Skip (N, C, 2h, 2w) and x (N * K, C', h, w) to (N * K, C'', 2h, 2w)."""
        skip = self.skip_block(self.skip_conv(skip))
        larger = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
        larger = larger.unflatten(0, (len(skip), -1)) + skip.unsqueeze(1)
        return self.out_conv(larger.flatten(0, 1))
