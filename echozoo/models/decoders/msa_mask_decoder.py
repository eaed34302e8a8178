"""The mask decoder of the Medical SAM Adapter: SAM's, with two residuals otherwise."""

from __future__ import annotations

from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn

from echozoo.models.contracts import KeyMap
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.registry import MODELS


class _Block(TwoWayAttentionBlock):
    """SAM's with two residuals otherwise.

    Tokens are added to what the first block's attention among them gives, where SAM replaces them,
    and from the second block on they keep their positions.
    """

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map tokens (N, n, C) and pixels (N, h * w, C) to the same shapes."""
        if not self.skip_first_layer_pe:
            queries = queries + query_pe
        queries = self.norm1(queries + self.self_attn(q=queries, k=queries, v=queries))
        q, k = queries + query_pe, keys + key_pe
        queries = self.norm2(queries + self.cross_attn_token_to_image(q=q, k=k, v=keys))
        queries = self.norm3(queries + self.mlp(queries))
        q = queries + query_pe
        keys = keys + self.cross_attn_image_to_token(q=k, k=q, v=queries)
        return queries, self.norm4(keys)


@MODELS.register_module()
class MSAMaskDecoder(SAMMaskDecoder):
    """`SAMMaskDecoder` as the published code of MSA has it; SAM's weights fit both.

    Args:
        embed_dims: As of `SAMMaskDecoder`, like the rest.
        transformer_depth: Two-way attention blocks.
        num_heads: Heads of each attention.
        mlp_dims: Hidden width of the blocks' MLPs.
        **kwargs: Of the masks and their quality.

    The published loader does not find SAM's weights for its MLPs, which it names otherwise.
    """

    published = (
        KeyMap({r"mask_decoder\.": ""}, {"mlp.layers.0.0.": "mlp.lin1.", "mlp.fc.": "mlp.lin2."}),
    )

    def __init__(
        self,
        embed_dims: int = 256,
        transformer_depth: int = 2,
        num_heads: int = 8,
        mlp_dims: int = 2048,
        **kwargs,
    ) -> None:
        super().__init__(
            embed_dims,
            transformer_depth=transformer_depth,
            num_heads=num_heads,
            mlp_dims=mlp_dims,
            **kwargs,
        )
        self.transformer.layers = nn.ModuleList(
            _Block(embed_dims, num_heads, mlp_dims, skip_first_layer_pe=index == 0)
            for index in range(transformer_depth)
        )
