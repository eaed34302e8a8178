"""Prompts that need nobody: learnt tokens and a quick network's masks, corrected by a person."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.base import SAMPromptHead, images_of
from echozoo.models.prompt_heads.painting import paint_clicks
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import MODELS, PROMPT_HEADS

_CERTAIN = 10.0  # log odds beyond which the coarse masks say no more


@PROMPT_HEADS.register_module()
class LearntPromptHead(SAMPromptHead):
    """Learnt tokens a structure, and coarse masks as SAM's dense prompt; no click is needed.

    Clicks and boxes come on top, in the same pass: without them their tokens are SAM's padding, so
    that the decoder knows both. A mask that is given takes the place of the coarse one. Clicks are
    drawn into the mask as well, see `paint_clicks`: tokens alone hardly moved an outline.

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
        num_structures: K.
        num_tokens: Learnt tokens of a structure.
        coarse: A network that makes log odds (N, K, h, w) of the images (see `ZooNetwork`); None
            leaves all to the tokens.

    Raises:
        ConfigError: The network knows another number of structures.
    """

    corrections = ("points", "boxes")

    def __init__(
        self,
        embed_dims: int = 256,
        img_size: int = 256,
        embedding_size: int = 64,
        num_structures: int = 3,
        num_tokens: int = 4,
        coarse: dict | None = None,
    ) -> None:
        super().__init__(embed_dims, img_size, embedding_size)
        self.tokens = nn.Parameter(torch.randn(num_structures, num_tokens, embed_dims) * 0.1)
        self.coarse = MODELS.build(coarse) if coarse else None
        if coarse and self.coarse.num_structures != num_structures:
            raise ConfigError(
                f"LearntPromptHead: found num_structures={num_structures}, wants "
                f"{self.coarse.num_structures}, as the coarse network knows"
            )

    def look(self, features: Features) -> Features:
        """Add what the coarse network finds in the images, ``coarse`` (N, K, 4h, 4w)."""
        if self.coarse is None:
            return features
        logits = self.coarse(images_of(features, self))
        size = [4 * side for side in features.size]
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        coarse = logits.clamp(-_CERTAIN, _CERTAIN)
        return replace(features, extra={**features.extra, "coarse": coarse})

    def embed(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed the learnt prompts, with those that are given.

        Args:
            features: Of N images, (N, C, h, w), as `look` returned them; without ``coarse`` the
                tokens are all there is.
            prompts: Empty, or some of points, boxes and masks (N, K, 4h, 4w). Points of label -1
                and boxes of zeros alone are padding.
            output_tokens: The decoder's; not used.

        Returns:
            sparse (N, K, P + 2 + num_tokens, C), P at least 1; dense (N, K, C, h, w); features.
        """
        named = prompts.structures
        chosen = list(range(len(self.tokens)) if named is None else named)
        embedding = features.embedding
        shape = prompts.batch if prompts.kinds else (embedding.shape[0], len(chosen))
        points, labels, boxes, masks = prompts.points, prompts.labels, prompts.boxes, prompts.masks
        if points is None:
            points = embedding.new_zeros((*shape, 1, 2), dtype=torch.float32)
            labels = points.new_full((*shape, 1), -1, dtype=torch.long)
        if boxes is None:
            boxes = points.new_zeros((*shape, 4))
        if masks is None and "coarse" in features.extra:
            masks = features.extra["coarse"][:, chosen]
        if masks is not None:
            masks = self._painted(masks, points, labels)
        given = Prompts(points, labels, boxes, masks, structures=tuple(chosen))
        sparse, dense, features = super().embed(features, given)
        is_corner = torch.arange(sparse.shape[2], device=sparse.device) >= points.shape[2]
        absent = (boxes == 0).all(-1)[..., None, None] & is_corner[:, None]  # N, K, P + 2, 1
        padding = self.encoder.not_a_point_embed.weight.to(sparse.dtype)
        sparse = torch.where(absent, padding, sparse)
        tokens = self.tokens[chosen].to(sparse.dtype).expand(len(sparse), -1, -1, -1)
        return torch.cat([sparse, tokens], 2), dense, features

    def _painted(self, masks: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        # Points are in pixels of the nominal input, about their centres; masks are finer than the
        # embedding by 4.
        places = (points + 0.5) * (4 / self.stride) - 0.5
        flat = [one.flatten(0, 1) for one in (masks, places, labels)]
        return paint_clicks(*flat, _CERTAIN).unflatten(0, masks.shape[:2])
