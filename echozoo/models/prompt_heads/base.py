"""What every prompt head on SAM's prompt encoder has: prompts embedded, positions encoded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segment_anything.modeling import PromptEncoder
from torch import Tensor, nn

from echozoo.errors import ConfigError


class SAMPromptHead(nn.Module):
    """SAM's prompt encoder for batches of images with several structures each.

    Points without a box get SAM's padding point, so one click makes two sparse tokens. At another
    input size than the nominal one, coordinates are understood in the pixels of that input.

    Prompt heads are called as ``(embedding, samples, output_tokens)``, with the decoder's own
    output tokens, and return sparse prompts (N, K, n, C), dense prompts (N, K, C, h, w) and the
    embedding to decode, (N, C, h, w) or one a structure (N, K, C, h, w).

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
    """

    def __init__(self, embed_dims: int, img_size: int, embedding_size: int) -> None:
        super().__init__()
        grid, image = (embedding_size, embedding_size), (img_size, img_size)
        self.encoder = PromptEncoder(embed_dims, grid, image, mask_in_chans=16)

    def embed(
        self,
        embedding: Tensor,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        structures: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embed prompts for N images with K structures each, in one pass.

        Args:
            embedding: Image embeddings (N, C, h, w); returned as they are.
            points: (N, K, P, 2), (x, y) in pixels of the network's input.
            labels: (N, K, P): 1 foreground, 0 background, -1 padding. With points only.
            boxes: (N, K, 4), (x1, y1, x2, y2) in pixels of the network's input.
            masks: (N, K, 4h, 4w), coarse masks as logits.
            structures: Which structures the K prompts are for, from 0, for a head that names them;
                None is all of them in their order.

        Returns:
            sparse (N, K, n, C), dense (N, K, C, h, w) and the embedding. n is P + 1 for points,
            2 for a box, P + 2 for both, 0 for a mask alone; one more where prompts are named.

        Raises:
            ConfigError: No prompt at all, points without labels, or another number of prompts
                than of structures.
        """
        given = [prompt for prompt in (points, boxes, masks) if prompt is not None]
        if not given or (points is None) != (labels is None):
            raise ConfigError(
                f"{type(self).__name__}: found no prompt, or points or labels alone; wants points "
                "with labels, boxes or masks"
            )
        batch = given[0].shape[:2]  # N, K
        size = embedding.shape[-2:]
        if points is not None:
            points = self._to_nominal(points.flatten(0, 1), size)  # N * K, P, 2
        if boxes is not None:
            boxes = self._to_nominal(boxes.reshape(-1, 2, 2), size).flatten(1)  # N * K, 4
        clicks = None if points is None else (points, labels.flatten(0, 1))
        if masks is not None:
            masks = self._check_masks(masks, size).flatten(0, 1).unsqueeze(1)  # N * K, 1, 4h, 4w
        # In half precision a coordinate would be off by up to a pixel.
        with torch.autocast(embedding.device.type, enabled=False):
            sparse, dense = self.encoder(clicks, boxes, masks)
        if masks is None:  # the embedding of "no mask", one for all positions
            dense = dense[..., :1, :1].expand(-1, -1, *size)
        sparse = self.name(sparse.unflatten(0, batch), structures)
        return sparse, dense.unflatten(0, batch), embedding

    def name(self, sparse: Tensor, structures: Sequence[int] | None = None) -> Tensor:
        """Say in the prompts (N, K, n, C) which structures they are for: SAM's do not."""
        return sparse

    def dense_pe(self, size: Sequence[int] | None = None) -> Tensor:
        """Encode the positions of an image embedding of ``size`` (h, w), nominal where None.

        Returns:
            (1, C, h, w).
        """
        size = size or self.encoder.image_embedding_size
        with torch.autocast(self.encoder.no_mask_embed.weight.device.type, enabled=False):
            return self.encoder.pe_layer(size).unsqueeze(0)

    def _to_nominal(self, points: Tensor, size: Sequence[int]) -> Tensor:
        # SAM's encoder knows one input size. (x, y) about pixel centres: shift, scale, shift back.
        nominal = self.encoder.image_embedding_size
        if tuple(size) == nominal:
            return points
        scale = points.new_tensor([nominal[1] / size[1], nominal[0] / size[0]])
        return (points + 0.5) * scale - 0.5

    def _check_masks(self, masks: Tensor, size: Sequence[int]) -> Tensor:
        wanted = (4 * size[0], 4 * size[1])
        if tuple(masks.shape[-2:]) != wanted:
            raise ConfigError(
                f"{type(self).__name__}: found mask prompts of {tuple(masks.shape[-2:])}, wants "
                f"{wanted}, four times the image embedding; resize them"
            )
        return masks
