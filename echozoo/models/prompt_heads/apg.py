"""Prompts that the model makes for itself: AutoSAMUS's automatic prompt generator.

::

    task tokens (K, k, C) --+-- token coupling --> T_t1 --+
    output tokens (5, C) ---+                             +-- T --+-- image coupling --> T', F'
                            +-- (paper) T_o1, or as is ---+       |
    image embedding F (N, C, h, w) -------------------------------+

    sparse prompts: the first tokens of T'    dense prompts: four convolutions of F'
    decoded in place of F: F', one a structure
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.layers.conv_branch import ConvStage
from echozoo.models.layers.cross_transformer import (
    CrossTransformer,
    PlainCoupling,
    ResidualCoupling,
)
from echozoo.models.prompt_heads.base import SAMPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS

MODES = ("released", "paper")

# A layer of the published couplings lists the attentions of both directions, then their MLPs.
_LAYER = r"prompt_generator\.cross_(\w+)_token\.layers\.(\d+)"
_GENERATOR = KeyMap(
    {
        # Computed and never read.
        r"prompt_generator\.cross_token_token\.layers\.1\.[13]\.": None,
        rf"{_LAYER}\.[02]\.": r"\1_coupling.first.\2.",
        rf"{_LAYER}\.[13]\.": r"\1_coupling.second.\2.",
        r"prompt_generator\.object_token": "task_tokens",
        r"prompt_generator\.": "",
    },
    {
        ".norm1.": ".norm_x.",
        ".norm2.": ".norm_source.",
        ".norm.": ".norm_mlp.",
        ".fn.to_q.": ".attn.q.",
        ".fn.to_kv.": ".attn.kv.",
        ".fn.to_out.0.": ".out.",
        ".fn.net.0.": ".mlp.0.",
        ".fn.net.3.": ".mlp.2.",
    },
    holds=r"(task_tokens|token_coupling|token_proj|image_coupling|dense_prompt)\b.*",
    name="APG",
)
# Convolution, norm and GELU of each stage in one row.
_DENSE_PROMPT = KeyMap(
    {
        rf"feature_adapter\.{3 * stage + place}\.": f"dense_prompt.{stage}.{name}."
        for stage in range(4)
        for place, name in enumerate(("conv", "norm"))
    },
    holds=_GENERATOR.holds,
    name="APG",
)


@PROMPT_HEADS.register_module()
class APG(SAMPromptHead):
    """AutoSAMUS's prompt generator (autosamus.txt, section 3.3): no prompt in, a mask out.

    Learnt task tokens ask the decoder's output tokens and the image what to prompt with. Each
    structure has task tokens of its own, all else is shared.

    ``mode="released"`` is what the published code computes: transformer layers of 8 heads with
    norms, residuals and leaky attention weights, output tokens that only answer, and a single
    sparse prompt. ``mode="paper"`` is the document's text: one head, no norms, no residuals but
    that of equation 3, output tokens that are updated, and all task tokens as sparse prompts. Each
    C of its equations has weights of its own, as in the published code.

    The published code also updates the output tokens in the last layer of the token coupling,
    which nothing reads. Its 14 dead tensors are left out here.

    SAM's prompt encoder is here as well: `embed` takes clicks, as SAMUS does.

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
        num_structures: K, the masks of an image.
        mode: "released" or "paper".
        num_task_tokens: k, task tokens of a structure.
        num_sparse_prompts: How many of them prompt the decoder; None is 1 if released, all k in
            the paper.
        depth: Layers of each coupling, the nesting of C.
        num_heads: Heads of each attention; None is 8 if released, 1 in the paper.
        head_dims: Channels of a head; None is 64 if released, ``embed_dims`` in the paper.
        ffn_dims: Hidden width of the MLPs.

    Raises:
        ConfigError: An unknown mode, or numbers that do not go together.
    """

    published = (*SAMPromptHead.published, _GENERATOR, _DENSE_PROMPT)

    def __init__(
        self,
        embed_dims: int = 256,
        img_size: int = 256,
        embedding_size: int = 32,
        num_structures: int = 1,
        mode: str = "released",
        num_task_tokens: int = 50,
        num_sparse_prompts: int | None = None,
        depth: int = 2,
        num_heads: int | None = None,
        head_dims: int | None = None,
        ffn_dims: int = 1024,
    ) -> None:
        super().__init__(embed_dims, img_size, embedding_size)
        if mode not in MODES:
            raise ConfigError(f"APG: found mode={mode!r}, wants one of {MODES}")
        self.updates_output = mode == "paper"
        if num_sparse_prompts is None:
            num_sparse_prompts = num_task_tokens if mode == "paper" else 1
        if num_structures < 1 or depth < 1 or not 1 <= num_sparse_prompts <= num_task_tokens:
            raise ConfigError(
                f"APG: found num_structures={num_structures}, depth={depth}, num_sparse_prompts="
                f"{num_sparse_prompts}, wants 1 or more, and no more prompts than the "
                f"{num_task_tokens} task tokens"
            )
        self.num_sparse_prompts = num_sparse_prompts
        coupling, heads, dims = ResidualCoupling, num_heads or 8, head_dims or 64
        if mode == "paper":
            coupling, heads, dims = PlainCoupling, num_heads or 1, head_dims or embed_dims
        build = partial(coupling, embed_dims, heads, dims, ffn_dims)
        self.task_tokens = nn.Parameter(torch.randn(num_structures, num_task_tokens, embed_dims))
        self.token_coupling = CrossTransformer(build, depth, last_both=self.updates_output)
        self.token_proj = nn.Linear(embed_dims, embed_dims, bias=mode == "released")
        self.image_coupling = CrossTransformer(build, depth)
        widths = (embed_dims, *[embed_dims // 4] * 3, embed_dims)
        self.dense_prompt = nn.Sequential(*map(ConvStage, widths[:-1], widths[1:]))

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Make prompts out of the image and the decoder's tokens (5, C) alone.

        Returns:
            sparse (N, K, num_sparse_prompts, C), dense (N, K, C, h, w), and features whose last
            map is one a structure (N, K, C, h, w).
        """
        embedding = features.embedding
        size, structures = embedding.shape[-2:], len(self.task_tokens)
        frames = embedding.shape[0]  # not `len`, which the export to ONNX would take for fixed
        tokens = self._tokens(output_tokens)  # K, k + 5, C
        tokens = tokens.expand(frames, -1, -1, -1).flatten(0, 1)  # N * K, k + 5, C
        image = embedding.flatten(2).transpose(1, 2).unsqueeze(1)  # N, 1, h * w, C
        image = image.expand(-1, structures, -1, -1).flatten(0, 1)  # N * K, h * w, C
        image, tokens = self.image_coupling(image, tokens)
        image = image.transpose(1, 2).unflatten(2, size)  # N * K, C, h, w
        sparse = tokens[:, : self.num_sparse_prompts]  # N * K, n, C
        outputs = sparse, self.dense_prompt(image), image
        sparse, dense, image = (output.unflatten(0, (-1, structures)) for output in outputs)
        return sparse, dense, features.replaced(image)

    def _tokens(self, output_tokens: Tensor) -> Tensor:
        """Task tokens that know the output tokens, and these: (K, k + 5, C)."""
        output_tokens = output_tokens.expand(len(self.task_tokens), -1, -1)  # K, 5, C
        task, output = self.token_coupling(self.task_tokens, output_tokens)
        task = self.token_proj(task) + self.task_tokens
        if self.updates_output:
            output_tokens = self.token_proj(output) + output_tokens
        return torch.cat([task, output_tokens], 1)
