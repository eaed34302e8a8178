"""MSA: SAM's image encoder with the adapters of the Medical SAM Adapter (arXiv 2304.12620)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import Tensor, nn

from echozoo.models.backbones.sam_vit import SAMViT, ViTBlock
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.mlp import FeatureAdapter
from echozoo.models.layers.relative_attention import relative_attention
from echozoo.registry import MODELS


class MSABlock(ViTBlock):
    """SAM's block with an adapter behind its attention and one beside its MLP, at half weight.

    What fills up the last windows is zeros before the norm: the norm's bias, where SAM has zeros
    behind it.

    Args:
        embed_dims: Channels of a token.
        *args: `ViTBlock`'s.
        over_frames: Whether there is a third adapter, behind an attention over the frames.
        **kwargs: `ViTBlock`'s.
    """

    def __init__(self, embed_dims: int, *args, over_frames: bool = False, **kwargs) -> None:
        super().__init__(embed_dims, *args, **kwargs)
        self.space_adapter = FeatureAdapter(embed_dims)
        self.mlp_adapter = FeatureAdapter(embed_dims)
        self.depth_adapter = FeatureAdapter(embed_dims) if over_frames else None

    def forward(self, x: Tensor, num_frames: int = 1) -> Tensor:
        """Map tokens (B * T, H, W, C) to the same shape."""
        z = self.attn(self.norm1(x), filling=self.norm1.bias)
        z = z + self.space_adapter(z)
        if self.depth_adapter is not None:
            z = z + self.depth_adapter(self._over_frames(x, num_frames))
        x = x + z
        n = self.norm2(x)
        return x + self.mlp(n) + 0.5 * self.mlp_adapter(n)

    def _over_frames(self, x: Tensor, num_frames: int) -> Tensor:
        """Attend from each place over the T frames, laid out as a grid, by the block's attention.

        The tables of relative positions are interpolated to that grid.
        """
        attn, (batch, height, width, channels) = self.attn, x.shape
        rows = _rows(num_frames)
        grid = rows, num_frames // rows
        qkv = attn.qkv(self.norm1(x)).unflatten(0, (-1, num_frames))  # B, T, H, W, 3 * C
        qkv = qkv.permute(0, 2, 3, 1, 4).flatten(0, 2)  # B * H * W, T, 3 * C
        qkv = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        tables = [
            get_rel_pos(side, side, table)
            for side, table in zip(grid, (attn.rel_pos_h, attn.rel_pos_w), strict=True)
        ]
        out = relative_attention(*qkv.unbind(), *tables)  # B * H * W, heads, T, d
        out = attn.proj(out.transpose(1, 2).flatten(2))  # B * H * W, T, C
        out = out.unflatten(0, (-1, height, width)).permute(0, 3, 1, 2, 4)
        return out.reshape(batch, height, width, channels)


@MODELS.register_module()
class MSA(SAMViT):
    """SAM's image encoder with MSA's adapters; they do not start as identity, as published.

    In the published 3-D branch frames and the windows of one image are mixed up wherever an image
    has several windows; here a place looks at itself in the frames of its clip.

    Args:
        over_frames: Whether frames of a clip see each other (MSA's 3-D branch).
        pos_embed_size: As of `SAMViT`; MSA keeps SAM's table, 64, and resizes it in each pass.
        **kwargs: `SAMViT`'s.
    """

    published = (
        KeyMap(
            {
                r"image_encoder\.(blocks\.\d+\.attn)\.rel_([hw])$": r"\1.rel_pos_\2",
                r"image_encoder\.": "",
            },
            {
                "Space_Adapter.": "space_adapter.",
                "MLP_Adapter.": "mlp_adapter.",
                "Depth_Adapter.": "depth_adapter.",
                "D_fc1.": "down.",
                "D_fc2.": "up.",
            },
            holds=SAMViT.published[0].holds,
        ),
    )

    def __init__(
        self, over_frames: bool = False, pos_embed_size: int | None = 64, **kwargs
    ) -> None:
        self.over_frames = over_frames
        super().__init__(pos_embed_size=pos_embed_size, **kwargs)
        self.sees = "clip" if over_frames else "frame"
        if not over_frames:  # files have its weights all the same
            claims = {r"image_encoder\.blocks\.\d+\.Depth_Adapter\.": None}
            (keys,) = self.published
            self.published = (KeyMap(claims | dict(keys.claims), keys.renames, holds=keys.holds),)

    def build_block(self, index: int) -> nn.Module:
        """Make block ``index``: global where the indexes say so, windowed elsewhere."""
        window = 0 if index in self.global_attn_indexes else self.window_size
        sizes = self.embed_dims, self.num_heads, self.grid_size, window, self.use_rel_pos
        return MSABlock(*sizes, over_frames=self.over_frames)

    def forward(self, images: Tensor, num_frames: int = 1) -> Tensor:
        """Encode images (N, 1 or 3, H, W), T frames of each clip following each other.

        Returns:
            Embeddings (N, out_channels, H / stride, W / stride).
        """
        x = self.embed_patches(self.as_colour(images))
        table = self.pos_embed.permute(0, 3, 1, 2)
        if table.shape[-2:] != x.shape[1:3]:
            table = F.interpolate(table, x.shape[1:3], mode="bicubic", align_corners=False)
        x = x + table.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x, num_frames)
        return self.neck(x.permute(0, 3, 1, 2))  # N, C, h, w


def _rows(frames: int) -> int:
    """Rows of the grid that T frames make: as near to a square as can be, but never one."""
    limit = math.isqrt(frames)
    sides = [rows for rows in range(1, limit + 1) if frames % rows == 0 and rows**2 != frames]
    return max(sides, default=1)
