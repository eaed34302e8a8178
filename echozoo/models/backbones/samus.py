"""SAMUS's image encoder (arXiv 2309.06824): SAM's ViT at 256 pixels beside a CNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.backbones.sam_vit import SAMViT, ViTBlock, resize_grid
from echozoo.models.contracts import KeyMap
from echozoo.models.inserts import Insert, clock_of
from echozoo.models.layers.attention import CrossAttention
from echozoo.models.layers.conv_branch import ConvBranch, ConvStage, PositionAdapter
from echozoo.models.layers.mlp import FeatureAdapter
from echozoo.models.layers.point import Point
from echozoo.models.layers.recomputation import run_twice, uncounted
from echozoo.registry import MODELS, TEMPORAL_MODULES

# What the published checkpoints call a module -> what it is called here.
_NAMES = {
    "cnn_embed.inc.conv.0.": "cnn_branch.stem.conv.",
    "cnn_embed.inc.conv.1.": "cnn_branch.stem.norm.",
    "cnn_embed.": "cnn_branch.",
    "post_pos_embed.": "pos_adapter.",
    ".maxpool_conv.1.": ".conv.",
    ".maxpool_conv.2.": ".norm.",
    "input_Adapter.": "input_adapter.",
    "MLP_Adapter.": "feature_adapter.",
    ".D_fc1.": ".down.",
    ".D_fc2.": ".up.",
    "Space_Adapter.": "cross_attn.",
    "refine_Adapter.conv.0.": "refine.conv.",
    "refine_Adapter.conv.1.": "refine.norm.",
}

TEMPORAL_POSITIONS = ("before_cross_attention", "before_attention", "before_mlp")


class DualBlock(ViTBlock):
    """A global block of SAMUS: the ViT takes from the CNN, and the CNN is refined.

    Args:
        embed_dims: Channels of a token, and of the CNN branch.
        num_heads: Heads of both attentions.
        grid_size: Nominal height and width of the grid, in tokens.
        use_rel_pos: Whether self-attention has relative positions.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, grid_size: int, use_rel_pos: bool = True
    ) -> None:
        super().__init__(embed_dims, num_heads, grid_size, use_rel_pos=use_rel_pos)
        self.before_cross_attention = Point()  # of the CNN's features
        self.cross_attn = CrossAttention(embed_dims, num_heads)
        self.refine = ConvStage(embed_dims, embed_dims)
        self.feature_adapter = FeatureAdapter(embed_dims)

    def mix_tokens(self, x: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Attend across the branches, then over the grid; refine the CNN's features after use.

        Args:
            x: Tokens of the ViT (N, H, W, C).
            features: The CNN's features (N, H, W, C).

        Returns:
            Both, changed.
        """
        normed = self.norm1(x)
        normed = normed + self.cross_attn(normed, features)
        refined = self.refine(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.attn(normed), refined

    def mix_channels(self, x: Tensor) -> Tensor:
        """Apply the MLP with the feature adapter beside it."""
        normed = self.norm2(x)
        return x + self.mlp(normed) + 0.5 * self.feature_adapter(normed)


@MODELS.register_module()
class SAMUS(SAMViT):
    """SAMUS's image encoder, with temporal modules and plugins where the config names them.

    A CNN sees the image at full size; in the global blocks the ViT's tokens take from its
    features by cross attention. Patches overlap, and adapters follow the patch embedding, the
    position table and each global block's MLP.

    Args:
        img_size: Nominal height and width of the input in pixels.
        patch_stride: Pixels from one patch to the next.
        pos_embed_size: Height and width of the table of absolute positions, in tokens: 1, 2, 4 ...
            times the grid. The position adapter halves it down to the grid.
        conv_channels: Channels of the CNN's stages but the last, which has the ViT's. Each stage
            after the first halves the size; together they make the patch stride.
        conv_plugins: Configs of modules in the CNN branch that keep the shape of (N, C, H, W), such
            as `MSFF` or `LIA`, without ``in_channels``, and each with its ``stages``: after which
            stages of the branch to put one. 0 is the first, at full size; the last is what the
            first cross attention reads. Several at one stage follow each other as listed.
        temporal: Config of a temporal module, the short form of `echozoo.models.inserts`; None
            treats frames singly.
        temporal_position: What the module acts on, and when: "before_cross_attention" the CNN's
            features, "before_attention" and "before_mlp" the ViT's tokens.
        temporal_blocks: Blocks that get one each; None is all global blocks, "all" is every block.
        with_cp: Whether to recompute the blocks in the backward pass, which saves memory.
        **sizes: As in `SAMViT`.

    Raises:
        ConfigError: Sizes that do not fit together, or a module where it cannot be.
    """

    published = (
        *(replace(layout, renames=_NAMES) for layout in SAMViT.published),
        KeyMap(
            holds=r"(blocks\.\d+\.)?"
            r"(cnn_branch|pos_adapter|input_adapter|feature_adapter|cross_attn|refine)\..+",
            name="SAMUS",
        ),
    )

    def __init__(
        self,
        img_size: int = 256,
        patch_stride: int = 8,
        pos_embed_size: int = 64,
        conv_channels: Sequence[int] = (64, 128, 256),
        conv_plugins: Sequence[dict] = (),
        temporal: dict | None = None,
        temporal_position: str = "before_cross_attention",
        temporal_blocks: Sequence[int] | str | None = None,
        with_cp: bool = False,
        **sizes,
    ) -> None:
        super().__init__(
            img_size=img_size, patch_stride=patch_stride, pos_embed_size=pos_embed_size, **sizes
        )
        self.with_cp, self.clock = with_cp, clock_of(self)
        if 2 ** len(conv_channels) != patch_stride:
            raise ConfigError(
                f"SAMUS: found {len(conv_channels)} conv_channels {tuple(conv_channels)}, wants "
                f"log2 of the patch stride {patch_stride}; the last stage, of embed_dims "
                "channels, is not listed"
            )
        stage_channels = (*conv_channels, self.embed_dims)
        self.cnn_branch = ConvBranch(3, stage_channels)
        self.input_adapter = FeatureAdapter(self.embed_dims)
        self.pos_adapter = PositionAdapter(self.embed_dims, self._position_halvings())
        self.temporal = nn.ModuleDict()
        if temporal is not None:
            self._add_temporal(temporal, temporal_position, temporal_blocks)
            self.sees = "clip"
        # Beside the branch, not in it: published weights have the whole of the branch.
        self.conv_plugins = nn.ModuleDict()
        for plugin in conv_plugins:
            self._add_conv_plugin(plugin, stage_channels)

    def build_block(self, index: int) -> nn.Module:
        """Make block ``index``: dual where it is global, SAM's own elsewhere."""
        if index not in self.global_attn_indexes:
            return super().build_block(index)
        return DualBlock(self.embed_dims, self.num_heads, self.grid_size, self.use_rel_pos)

    def forward(self, images: Tensor, num_frames: int = 1) -> Tensor:
        """Encode the frames of clips.

        Args:
            images: (B * T, 3, H, W), or (B * T, 1, H, W), which stands for three equal channels;
                frames of a clip follow each other.
            num_frames: T.

        Returns:
            Embeddings (B * T, out_channels, H / stride, W / stride).
        """
        images = self.as_colour(images)
        features = self.cnn_branch(images, self.conv_plugins).permute(0, 2, 3, 1)  # N, h, w, C
        x = self.embed_patches(images)
        x = x + self.input_adapter(x)
        x = x + resize_grid(self.pos_adapter(self.pos_embed), x.shape[1:3])
        for block in self.blocks:
            x = block.before_attention(x)
            if isinstance(block, DualBlock):
                # What the frames exchange here stays in the CNN branch: a temporal module is a
                # residual part of it, and the blocks that follow build on it.
                features = block.before_cross_attention(features)
                x, features = self._run(block.mix_tokens, x, features)
            else:
                x = self._run(block.mix_tokens, x)
            x = block.before_mlp(x)
            x = self._run(block.mix_channels, x)
        return self.neck((x + 0.5 * features).permute(0, 3, 1, 2))  # N, C, h, w

    def _run(self, part: Callable, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if not (self.with_cp and self.training):
            return part(*inputs)
        num_frames = self.clock.num_frames

        @contextmanager
        def again() -> Iterator[None]:
            # The backward pass may come after calls with clips of other lengths.
            with self.clock.at(num_frames), uncounted(self):
                yield

        return run_twice(part, *inputs, again=again)

    def _position_halvings(self) -> int:
        table_size = self.pos_embed.shape[1]
        halvings = (table_size // self.grid_size).bit_length() - 1
        if halvings < 0 or self.grid_size * 2**halvings != table_size:
            raise ConfigError(
                f"SAMUS: found pos_embed_size={table_size}, wants 1, 2, 4 ... times the "
                f"{self.grid_size} tokens of img_size / patch_stride"
            )
        return halvings

    def _add_temporal(self, cfg: dict, position: str, blocks: Sequence[int] | str | None) -> None:
        if position not in TEMPORAL_POSITIONS:
            raise ConfigError(
                f"SAMUS: found temporal_position={position!r}, wants one of "
                f"{', '.join(TEMPORAL_POSITIONS)}"
            )
        crossing = position == "before_cross_attention"
        every = tuple(range(len(self.blocks)))
        legal = self.global_attn_indexes if crossing else every
        chosen = (
            self.global_attn_indexes if blocks is None else every if blocks == "all" else blocks
        )
        if not set(chosen) <= set(legal):
            raise ConfigError(
                f"SAMUS: found temporal_blocks={tuple(chosen)}, wants some of {tuple(legal)} "
                f"for temporal_position={position!r}"
            )
        for index in chosen:
            module = TEMPORAL_MODULES.build({"embed_dims": self.embed_dims, **cfg})
            self.temporal[str(index)] = module
            insert = Insert(module, Point.layout, self.clock, f"blocks.{index}.{position}")
            getattr(self.blocks[index], position).register_forward_hook(insert.after)

    def _add_conv_plugin(self, cfg: dict, channels: Sequence[int]) -> None:
        settings = dict(cfg)
        stages, legal = settings.pop("stages", None), range(len(channels))
        if not isinstance(stages, Sequence) or not stages or not set(stages) <= set(legal):
            raise ConfigError(
                f"SAMUS: found stages={stages!r} for the conv plugin {settings.get('type')!r}, "
                f"wants some of {tuple(legal)}; the branch has {tuple(channels)} channels there"
            )
        for stage in stages:
            plugin = MODELS.build({"in_channels": channels[stage], **settings})
            if str(stage) not in self.conv_plugins:
                self.conv_plugins[str(stage)] = nn.Sequential()
            self.conv_plugins[str(stage)].append(plugin)
