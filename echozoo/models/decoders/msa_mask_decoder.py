"""The mask decoder of the Medical SAM Adapter: SAM's, with two residuals otherwise."""

from __future__ import annotations

from segment_anything.modeling.transformer import TwoWayAttentionBlock, TwoWayTransformer
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


class _Transformer(TwoWayTransformer):
    """SAM's, of such blocks."""

    def __init__(self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__(depth, embedding_dim, num_heads, mlp_dim)
        self.layers = nn.ModuleList(
            _Block(embedding_dim, num_heads, mlp_dim, skip_first_layer_pe=index == 0)
            for index in range(depth)
        )


@MODELS.register_module()
class MSAMaskDecoder(SAMMaskDecoder):
    """`SAMMaskDecoder` as the published code of MSA has it; SAM's weights fit both.

    The published loader does not find SAM's weights for its MLPs, which it names otherwise.
    """

    published = (
        KeyMap({r"mask_decoder\.": ""}, {"mlp.layers.0.0.": "mlp.lin1.", "mlp.fc.": "mlp.lin2."}),
    )

    transformer_type = _Transformer
