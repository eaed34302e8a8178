"""SAM's image encoder (Segment Anything, arXiv 2304.02643), for any input size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import PatchEmbed
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.attention import GridAttention
from echozoo.models.layers.mlp import MLP
from echozoo.models.layers.norm import ChannelNorm
from echozoo.models.layers.point import Point
from echozoo.registry import MODELS

ARCHS = {
    "base": dict(embed_dims=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)),
    "large": dict(embed_dims=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)),
    "huge": dict(embed_dims=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)),
}


class ViTBlock(nn.Module):
    """A transformer block over the whole grid, or over windows of it.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads of the attention.
        grid_size: Nominal height and width of the grid, in tokens.
        window_size: Height and width of a window in tokens; 0 attends over the whole grid.
        use_rel_pos: Whether the attention has relative positions.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        grid_size: int,
        window_size: int = 0,
        use_rel_pos: bool = True,
    ) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = Point(), Point()
        self.norm1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = GridAttention(embed_dims, num_heads, grid_size, window_size, use_rel_pos)
        self.norm2 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.mlp = MLP(embed_dims, 4 * embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, H, W, C) to (N, H, W, C)."""
        return self.mix_channels(self.before_mlp(self.mix_tokens(self.before_attention(x))))

    def mix_tokens(self, x: Tensor) -> Tensor:
        """Attend over the grid, or over each window, with the skip."""
        return x + self.attn(self.norm1(x))

    def mix_channels(self, x: Tensor) -> Tensor:
        """Apply the MLP to each token, with the skip."""
        return x + self.mlp(self.norm2(x))


@MODELS.register_module()
class SAMViT(nn.Module):
    """SAM's image encoder: a plain ViT with windowed attention and a convolutional neck.

    State-dict keys are those of SAM's ``image_encoder``. Sizes given one by one take the place
    of those of ``arch``. An input of another size than ``img_size`` is legal where its sides are
    multiples of the patch stride: position tables are interpolated.

    Args:
        arch: "base", "large" or "huge".
        embed_dims: Channels of a token.
        depth: Number of blocks.
        num_heads: Heads of each block.
        global_attn_indexes: Blocks that attend over the whole grid; the others use windows.
        img_size: Nominal height and width of the input in pixels.
        patch_size: Height and width of a patch in pixels.
        patch_stride: Pixels from one patch to the next; None is the patch size. Where patches
            overlap, the image is enlarged so that there is one patch for each stride.
        pos_embed_size: Height and width of the table of absolute positions, in tokens; None is
            the nominal grid.
        window_size: Height and width of a window in tokens.
        out_channels: Channels of the output.
        use_rel_pos: Whether attention has relative positions.

    Raises:
        ConfigError: Sizes that do not fit together.
    """

    sees = "frame"
    published: tuple[KeyMap, ...] = (
        KeyMap(
            # SAMed, MA-SAM, UV-SAM and AdaptiveSAM have it below something, or name it otherwise.
            {r"((sam|backbone)\.)?(image|sam)_encoder\.(ImageEncoderViT\.)?": ""},
            {".Block.": ".", ".Attention.": "."},  # MA-SAM's blocks are in wrappers
            # Beside these a subclass, or somebody's adapters, may have more.
            holds=r"pos_embed|(patch_embed\.proj|neck\.\d)\.\w+"
            r"|blocks\.\d+\.(norm[12]|attn\.qkv|attn\.proj|mlp\.lin[12])\.\w+"
            r"|blocks\.\d+\.attn\.rel_pos_[hw]",
            alone={"patch_embed.proj.weight": "image_encoder."},
        ),
    )

    def __init__(
        self,
        arch: str = "base",
        embed_dims: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        global_attn_indexes: Sequence[int] | None = None,
        img_size: int = 1024,
        patch_size: int = 16,
        patch_stride: int | None = None,
        pos_embed_size: int | None = None,
        window_size: int = 14,
        out_channels: int = 256,
        use_rel_pos: bool = True,
    ) -> None:
        super().__init__()
        sizes = _sizes(arch, embed_dims, depth, num_heads, global_attn_indexes)
        self.embed_dims, self.num_heads = sizes["embed_dims"], sizes["num_heads"]
        self.global_attn_indexes = sizes["global_attn_indexes"]
        self.patch_size, self.patch_stride = patch_size, patch_stride or patch_size
        self.img_size, self.stride, self.out_channels = img_size, self.patch_stride, out_channels
        self.grid_size = img_size // self.patch_stride
        self.window_size, self.use_rel_pos = window_size, use_rel_pos
        patch, stride = (patch_size, patch_size), (self.patch_stride, self.patch_stride)
        self.patch_embed = PatchEmbed(patch, stride, embed_dim=self.embed_dims)
        table_size = pos_embed_size or self.grid_size
        self.pos_embed = nn.Parameter(torch.empty(1, table_size, table_size, self.embed_dims))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(self.build_block(i) for i in range(sizes["depth"]))
        self.neck = sam_neck(self.embed_dims, out_channels)

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Name patterns of parameters by what they are, for `echozoo.models.freezing`."""
        return _aliases(self.global_attn_indexes)

    @property
    def aliases_elsewhere(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The same of the other sizes of this encoder, which patterns of a config may mean."""
        return {f"arch={arch}": _aliases(ARCHS[arch]["global_attn_indexes"]) for arch in ARCHS}

    def fit_published(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Resize position tables of an encoder that was made for another image size.

        Absolute positions are resized bilinearly, relative ones of the global blocks linearly
        along their rows; tables of windowed blocks do not depend on the image size.

        Returns:
            The weights, with tables that fit, where resizing is what they need.
        """
        fitted, own = dict(weights), self.state_dict()
        table = fitted.get("pos_embed")
        if table is not None and _differ(table, own["pos_embed"], sides=(1, 2)):
            fitted["pos_embed"] = resize_grid(table.float(), own["pos_embed"].shape[1:3])
        for index in self.global_attn_indexes:
            for key in (f"blocks.{index}.attn.rel_pos_{axis}" for axis in "hw"):
                if key in fitted and _differ(fitted[key], own[key], sides=(0,)):
                    columns = fitted[key].float().T[None]  # (rows, C) -> (1, C, rows)
                    fitted[key] = F.interpolate(columns, len(own[key]), mode="linear")[0].T
        return fitted

    def build_block(self, index: int) -> nn.Module:
        """Make block ``index``: global where the indexes say so, windowed elsewhere."""
        window = 0 if index in self.global_attn_indexes else self.window_size
        return ViTBlock(self.embed_dims, self.num_heads, self.grid_size, window, self.use_rel_pos)

    def forward(self, images: Tensor, num_frames: int = 1) -> Tensor:
        """Encode images, each by itself.

        Args:
            images: (N, 3, H, W), or (N, 1, H, W), which stands for three equal channels.
            num_frames: Frames of each clip in N; here they do not see each other.

        Returns:
            Embeddings (N, out_channels, H / stride, W / stride).
        """
        x = self.embed_patches(self.as_colour(images))
        x = x + resize_grid(self.pos_embed, x.shape[1:3])
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))  # N, C, h, w

    def as_colour(self, images: Tensor) -> Tensor:
        """Check the size of images (N, 1 or 3, H, W) and give them three channels.

        In memory a pixel's channels are side by side, as the norms want them: convolutions and
        sums keep the order that they find.
        """
        height, width = images.shape[-2:]
        if height % self.patch_stride or width % self.patch_stride:
            raise ConfigError(
                f"{type(self).__name__}: found an input of {height} x {width} pixels, wants "
                f"multiples of the patch stride {self.patch_stride}; resize or pad the clip"
            )
        return images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def embed_patches(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to tokens (N, H / stride, W / stride, C)."""
        overlap = self.patch_size - self.patch_stride
        if overlap:
            size = [side + overlap for side in images.shape[-2:]]
            images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        return self.patch_embed(images)


def sam_neck(in_channels: int, channels: int) -> nn.Sequential:
    """Build what ends SAM's image encoders: (N, C, h, w) to (N, channels, h, w)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, bias=False),
        ChannelNorm(channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        ChannelNorm(channels),
    )


def resize_grid(table: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate a grid of positions (1, h, w, C) to (1, H, W, C); as it is where it fits."""
    if table.shape[1:3] == tuple(size):
        return table
    table = table.permute(0, 3, 1, 2)
    return F.interpolate(table, tuple(size), mode="bilinear", align_corners=False).permute(
        0, 2, 3, 1
    )


def _aliases(global_blocks: Sequence[int]) -> dict[str, tuple[str, ...]]:
    return {"global_positions": tuple(f"blocks.{i}.attn.rel_pos_?" for i in global_blocks)}


def _differ(table: Tensor, wanted: Tensor, sides: tuple[int, ...]) -> bool:
    """Whether two tables differ in these sides, and in no other."""
    shapes = [
        [size for dim, size in enumerate(one.shape) if dim not in sides] for one in (table, wanted)
    ]
    return table.shape != wanted.shape and table.dim() == wanted.dim() and shapes[0] == shapes[1]


def _sizes(
    arch: str,
    embed_dims: int | None,
    depth: int | None,
    num_heads: int | None,
    global_attn_indexes: Sequence[int] | None,
) -> dict:
    if arch not in ARCHS:
        raise ConfigError(f"SAMViT: found arch={arch!r}, wants one of {', '.join(ARCHS)}")
    given = dict(
        embed_dims=embed_dims,
        depth=depth,
        num_heads=num_heads,
        global_attn_indexes=global_attn_indexes,
    )
    sizes = ARCHS[arch] | {name: size for name, size in given.items() if size is not None}
    if sizes["embed_dims"] % sizes["num_heads"]:
        raise ConfigError(
            f"SAMViT: found num_heads={sizes['num_heads']}, wants a divisor of "
            f"embed_dims={sizes['embed_dims']}"
        )
    sizes["global_attn_indexes"] = tuple(sizes["global_attn_indexes"])
    strays = [i for i in sizes["global_attn_indexes"] if not 0 <= i < sizes["depth"]]
    if strays:
        raise ConfigError(
            f"SAMViT: found global_attn_indexes {strays}, wants block numbers from 0 to "
            f"{sizes['depth'] - 1}; name the global blocks of this depth"
        )
    return sizes
