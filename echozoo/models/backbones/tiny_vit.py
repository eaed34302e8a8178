"""TinyViT (arXiv 2207.10666) as the image encoder of LiteMedSAM and of MobileSAM (2306.14289).

A stage of inverted bottlenecks, then three stages of attention in small windows. All but the last
of the stages that follow another halve the grid, and SAM's convolutional neck ends it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import window_partition, window_unpartition
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.backbones.sam_vit import sam_neck
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.norm import SyncBN
from echozoo.models.layers.point import Point
from echozoo.registry import MODELS

EXPANSION = 4  # of the channels, inside a bottleneck and inside an MLP
STAGE_STRIDES = (2, 2, 1)  # after each stage but the last

# Kernel of the two convolutions of the stem, by the stem's stride.
_STEM_KERNELS = {1: 1, 4: 3}


class ConvNorm(nn.Sequential):
    """A convolution without bias, a batch norm, and a GELU where it is asked for.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: Height and width of the kernel, odd; zeros pad the image by half of it.
        stride: Of the convolution.
        groups: Of the convolution.
        gelu: Whether a GELU follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        gelu: bool = False,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.c = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
        )
        self.bn = SyncBN(out_channels)
        if gelu:
            self.act = nn.GELU()


class Stem(nn.Module):
    """From pixels to the grid of the first stage.

    Args:
        channels: Channels out; half of them after the first convolution.
        stride: 4, two 3 x 3 convolutions that halve the image (TinyViT, MobileSAM), or 1, two
            1 x 1 convolutions (LiteMedSAM: a quarter of MobileSAM's input, the same grid).
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        kernel, step = _STEM_KERNELS[stride], 2 if stride == 4 else 1
        first = ConvNorm(3, channels // 2, kernel, step, gelu=True)
        second = ConvNorm(channels // 2, channels, kernel, step)
        # The published GELU is a layer of its own, number 1.
        self.seq = nn.Sequential(OrderedDict({"0": first, "2": second}))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, C, H / stride, W / stride)."""
        return self.seq(images)


class Bottleneck(nn.Module):
    """Widen, look at the neighbours channel by channel, narrow; GELU after each.

    With ``skip`` it is the inverted bottleneck of the first stage, whose last GELU follows the
    addition of the input. Without, it is the step to the next stage, which has no last GELU.

    Args:
        in_channels: Channels in.
        hidden: Channels of the 3 x 3 convolution.
        out_channels: Channels out.
        stride: Of the 3 x 3 convolution.
        skip: Whether to add the input.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, stride: int = 1, skip: bool = False
    ) -> None:
        super().__init__()
        self.skip = skip
        self.conv1 = ConvNorm(in_channels, hidden, gelu=True)
        self.conv2 = ConvNorm(hidden, hidden, 3, stride, groups=hidden, gelu=True)
        self.conv3 = ConvNorm(hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        out = self.conv3(self.conv2(self.conv1(x)))
        return F.gelu(x + out) if self.skip else out


class WindowAttention(nn.Module):
    """Self-attention inside a window, with a learnt bias for each distance between two tokens.

    A head has one bias for each pair of a distance in rows and a distance in columns, both without
    their sign.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads; they divide the channels.
        window_size: Height and width of a window in tokens.
    """

    def __init__(self, embed_dims: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dims)
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window_size**2))
        place = torch.arange(window_size)
        gap = (place[:, None] - place).abs()  # S, S
        gaps = gap[:, None, :, None] * window_size + gap[:, None, :]  # S, S, S, S
        # Which bias each pair of tokens takes: follows from the size, so it is in no file.
        self.register_buffer("pairs", gaps.reshape(window_size**2, -1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (B, S, S, C) to the same shape, without the skip."""
        # The channels of qkv are ordered by head, then by query, key and value.
        qkv = self.qkv(self.norm(x)).flatten(1, 2).unflatten(-1, (self.num_heads, -1))
        q, k, v = qkv.transpose(1, 2).chunk(3, dim=-1)  # B, heads, S * S, d
        bias = self.attention_biases[:, self.pairs]  # heads, S * S, S * S
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)[None])
        return self.proj(out.transpose(1, 2).reshape(x.shape))  # B, S, S, C


class MLP(nn.Sequential):
    """Map tokens (..., C) to (..., C): normalise, widen, GELU, narrow; the caller adds the skip."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims)
        self.fc1 = nn.Linear(embed_dims, EXPANSION * embed_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(EXPANSION * embed_dims, embed_dims)


class TinyViTBlock(nn.Module):
    """Attention in windows, a 3 x 3 convolution channel by channel, an MLP.

    Args:
        embed_dims: Channels of a token.
        num_heads: Heads of the attention.
        window_size: Height and width of a window in tokens.
    """

    def __init__(self, embed_dims: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.before_attention, self.before_mlp = Point(), Point()
        self.attn = WindowAttention(embed_dims, num_heads, window_size)
        self.local_conv = ConvNorm(embed_dims, embed_dims, 3, groups=embed_dims)
        self.mlp = MLP(embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        tokens = self.before_attention(x.permute(0, 2, 3, 1))  # N, H, W, C
        # Zeros fill the last windows; TinyViT lets them take part in the attention.
        windows, padded = window_partition(tokens, self.window_size)
        windows = self.attn(windows)
        tokens = tokens + window_unpartition(windows, self.window_size, padded, tokens.shape[1:3])
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # N, H, W, C
        tokens = self.before_mlp(tokens)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)  # N, C, H, W


class Stage(nn.Module):
    """Blocks of one size, and the step to the size of the next stage.

    Args:
        blocks: Map (N, C, H, W) to the same shape.
        downsample: The step; None in the last stage.
    """

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to what the next stage takes."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


@MODELS.register_module()
class TinyViT(nn.Module):
    """The image encoder of LiteMedSAM; with ``stem_stride=4``, of MobileSAM.

    State-dict keys are those of the published ``image_encoder``. There is no table of positions,
    so the input may have any size whose sides are multiples of the stride, ``4 * stem_stride``.

    Args:
        embed_dims: Channels of the four stages.
        depths: Blocks of the four stages.
        num_heads: Heads of the four stages; the first stage has no attention.
        window_sizes: Height and width of a window in tokens; the first stage has no windows.
        stem_stride: See `Stem`.
        out_channels: Channels of the output.

    Raises:
        ConfigError: Sizes that do not fit together.
    """

    sees = "frame"
    published = (
        KeyMap(
            {r"image_encoder\.": ""},
            holds=r"(patch_embed|neck)\..+|layers\.\d+\.(downsample\..+"
            r"|blocks\.\d+\.(conv[123]|local_conv|attn|mlp)\..+)",
        ),
    )

    def __init__(
        self,
        embed_dims: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (2, 4, 5, 10),
        window_sizes: Sequence[int] = (7, 7, 14, 7),
        stem_stride: int = 1,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        _check(embed_dims, depths, num_heads, window_sizes, stem_stride)
        self.stride, self.out_channels = 4 * stem_stride, out_channels
        self.patch_embed = Stem(embed_dims[0], stem_stride)
        self.layers = nn.ModuleList()
        for i, dims in enumerate(embed_dims):
            if i == 0:
                blocks = [
                    Bottleneck(dims, EXPANSION * dims, dims, skip=True) for _ in range(depths[0])
                ]
            else:
                blocks = [
                    TinyViTBlock(dims, num_heads[i], window_sizes[i]) for _ in range(depths[i])
                ]
            step = None
            if i < len(STAGE_STRIDES):
                after = embed_dims[i + 1]
                step = Bottleneck(dims, after, after, STAGE_STRIDES[i])
            self.layers.append(Stage(blocks, step))
        self.neck = sam_neck(embed_dims[-1], out_channels)
        self.apply(_initialise)

    def forward(self, images: Tensor, num_frames: int = 1) -> Tensor:
        """Encode images, each by itself.

        Args:
            images: (N, 3, H, W), or (N, 1, H, W), which stands for three equal channels.
            num_frames: Frames of each clip in N; here they do not see each other.

        Returns:
            Embeddings (N, out_channels, H / stride, W / stride).

        Raises:
            ConfigError: A side of the images is no multiple of the stride.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ConfigError(
                f"TinyViT: found an input of {height} x {width} pixels, wants multiples of "
                f"{self.stride}; resize or pad the clip"
            )
        x = self.patch_embed(images.expand(-1, 3, -1, -1))
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _check(
    embed_dims: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    window_sizes: Sequence[int],
    stem_stride: int,
) -> None:
    stages = len(STAGE_STRIDES) + 1
    given = dict(
        embed_dims=embed_dims, depths=depths, num_heads=num_heads, window_sizes=window_sizes
    )
    for name, sizes in given.items():
        if len(sizes) != stages:
            raise ConfigError(
                f"TinyViT: found {name}={tuple(sizes)}, wants one for {stages} stages"
            )
    if any(dims % heads for dims, heads in zip(embed_dims, num_heads, strict=True)):
        raise ConfigError(
            f"TinyViT: found num_heads={tuple(num_heads)}, wants divisors of "
            f"embed_dims={tuple(embed_dims)}"
        )
    if stem_stride not in _STEM_KERNELS:
        raise ConfigError(
            f"TinyViT: found stem_stride={stem_stride}, wants one of {tuple(_STEM_KERNELS)}"
        )
