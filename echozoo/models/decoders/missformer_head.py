"""MISSFormer's decoder (arXiv 2109.07162) as a decode head of mmseg."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from echozoo.models.backbones.missformer import MULTIPLES, REDUCTIONS
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.mix_block import PUBLISHED_NAMES, MixBlock, to_map, to_tokens
from echozoo.registry import MODELS


class Expand(nn.Module):
    """Every token becomes a square of tokens.

    Args:
        embed_dims: Channels of a token.
        out_dims: Channels of the new ones.
        side: Of the square.
    """

    def __init__(self, embed_dims: int, out_dims: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.expand = nn.Linear(embed_dims, side * side * out_dims, bias=False)
        self.norm = nn.LayerNorm(out_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, h, w) to (N, C', side * h, side * w)."""
        x = self.expand(x.permute(0, 2, 3, 1))  # N, h, w, side * side * C'
        x = x.unflatten(-1, (self.side, self.side, -1)).permute(0, 1, 3, 2, 4, 5)
        x = x.flatten(3, 4).flatten(1, 2)  # N, side * h, side * w, C'
        return self.norm(x).permute(0, 3, 1, 2)


class Step(nn.Module):
    """Join a map with the encoder's of its size, two blocks, enlarge.

    Args:
        in_dims: Channels of the two together.
        embed_dims: Channels of the blocks.
        num_heads: Heads of the blocks.
        reduction: Of the blocks' keys.
        expand: Enlarges the map.
    """

    def __init__(
        self, in_dims: int, embed_dims: int, num_heads: int, reduction: int, expand: Expand
    ) -> None:
        super().__init__()
        self.join = nn.Linear(in_dims, embed_dims)
        self.blocks = nn.ModuleList(MixBlock(embed_dims, num_heads, reduction) for _ in range(2))
        self.up = expand

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map two maps (N, C, h, w) of one size to a larger one."""
        size = skip.shape[-2:]
        tokens = self.join(to_tokens(torch.cat([x, skip], 1)))
        for block in self.blocks:
            tokens = block(tokens, size)
        return self.up(to_map(tokens, size))


@MODELS.register_module()
class MISSFormerHead(BaseDecodeHead):
    """From MISSFormer's four maps to logits of the image's size.

    The published network has blocks for the smallest map too, which have no effect.

    Args:
        in_channels: Channels of the maps, from the largest map to the smallest.
        num_heads: Heads of the blocks, from the largest map's.
        **kwargs: mmseg's ``BaseDecodeHead``: num_classes, loss_decode, ...
    """

    published = (
        KeyMap(
            {
                # Blocks and norms without effect.
                r"decoder_3\.(concat_linear|layer_former_\d)\.": None,
                r"decoder_\d\..+\.mlp\.norm[23]\.": None,
                r"decoder_3\.layer_up\.": "up.",
                r"decoder_0\.last_layer\.": "conv_seg.",
                **{rf"decoder_{2 - step}\.": f"steps.{step}." for step in range(3)},
            },
            {
                **PUBLISHED_NAMES,
                ".concat_linear.": ".join.",
                ".layer_former_1.": ".blocks.0.",
                ".layer_former_2.": ".blocks.1.",
                ".layer_up.": ".up.",
            },
        ),
    )

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 320, 512),
        num_heads: Sequence[int] = MULTIPLES[:3],
        **kwargs,
    ) -> None:
        dims = list(in_channels)
        super().__init__(
            dims,
            dims[0],
            dropout_ratio=0.0,
            in_index=(0, 1, 2, 3),
            input_transform="multiple_select",
            align_corners=False,
            init_cfg=None,
            **kwargs,
        )
        self.up = Expand(dims[3], dims[3] // 2, 2)
        below, self.steps = dims[3] // 2, nn.ModuleList()
        for index in (2, 1, 0):
            here = dims[index]
            after, side = (here // 2, 2) if index else (here, 4)
            self.steps.append(
                Step(
                    below + here,
                    here,
                    num_heads[index],
                    REDUCTIONS[index],
                    Expand(here, after, side),
                )
            )
            below = after
        self.apply(_initialise)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Decode maps (N, C, h, w) of strides 4, 8, 16, 32 to logits (N, num_classes, H, W)."""
        *skips, x = self._transform_inputs(maps)
        x = self.up(x)
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            x = step(x, skip)
        return self.cls_seg(x)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
