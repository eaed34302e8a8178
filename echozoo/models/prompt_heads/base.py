"""What every prompt head on SAM's prompt encoder has: prompts embedded, positions encoded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from segment_anything.modeling import PromptEncoder
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.contracts import KeyMap
from echozoo.models.prompts import Features, Prompts


class SAMPromptHead(nn.Module):
    """SAM's prompt encoder for batches of images with several structures each.

    Points without a box get SAM's padding point, so one click makes two sparse tokens. At another
    input size than the nominal one, coordinates are understood in the pixels of that input.

    A prompt head says by ``kinds`` which prompts it wants of the samples, and embeds them by
    `embed`: sparse prompts (N, K, n, C), dense prompts (N, K, C, h, w), and the features to decode,
    whose last map may be one a structure (N, K, C, h, w). One that wants none has `prompt_itself`.

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
    """

    kinds: tuple[str, ...] = ()
    published: tuple[KeyMap, ...] = (
        KeyMap(
            {r"prompt_encoder\.": "encoder."},
            holds=r"encoder\..+",
            alone={"no_mask_embed.weight": "prompt_encoder."},
        ),
    )

    def __init__(
        self, embed_dims: int = 256, img_size: int = 1024, embedding_size: int = 64
    ) -> None:
        super().__init__()
        grid, image = (embedding_size, embedding_size), (img_size, img_size)
        self.embed_dims = embed_dims
        self.encoder = PromptEncoder(embed_dims, grid, image, mask_in_chans=16)

    def embed(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Features]:
        """Embed prompts for N images with K structures each, in one pass.

        Those that are given are embedded as SAM does; where there are none, the head may
        `prompt_itself`.

        Args:
            features: Of N images, (N, C, h, w).
            prompts: Points, boxes and masks (N, K, 4h, 4w), some of them.
            output_tokens: The decoder's, which a head that prompts itself may look at.

        Returns:
            sparse (N, K, n, C), dense (N, K, C, h, w) and the features. Of given prompts n is
            P + 1 for points, 2 for a box, P + 2 for both, 0 for a mask alone; one more where
            prompts are named.

        Raises:
            ConfigError: No prompt at all, or another number of prompts than of structures.
        """
        if not prompts.kinds:
            return self.prompt_itself(features, prompts, output_tokens)
        batch, size = prompts.batch, features.size  # (N, K), (h, w)
        points, boxes, masks = prompts.points, prompts.boxes, prompts.masks
        if points is not None:
            points = self._to_nominal(points.flatten(0, 1), size)  # N * K, P, 2
        if boxes is not None:
            boxes = self._to_nominal(boxes.reshape(-1, 2, 2), size).flatten(1)  # N * K, 4
        clicks = None if points is None else (points, prompts.labels.flatten(0, 1))
        if masks is not None:
            masks = self._check_masks(masks, size).flatten(0, 1).unsqueeze(1)  # N * K, 1, 4h, 4w
        # In half precision a coordinate would be off by up to a pixel.
        with torch.autocast(features.device.type, enabled=False):
            sparse, dense = self.encoder(clicks, boxes, masks)
        if masks is None:  # the embedding of "no mask", one for all positions
            dense = dense[..., :1, :1].expand(-1, -1, *size)
        sparse = self.name(sparse.unflatten(0, batch), prompts.structures)
        return sparse, dense.unflatten(0, batch), features

    def prompt_itself(
        self, features: Features, prompts: Prompts, output_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor, Features]:
        """Prompt without being given any, as `embed` returns it; SAM's own prompt encoder cannot.

        Raises:
            ConfigError: Prompts are wanted; or a head that looks at images got none.
        """
        raise ConfigError(
            f"{type(self).__name__}: prompts: found none, wants points with labels, boxes or masks"
        )

    @property
    def stride(self) -> int:
        """Pixels of the nominal input for one place of the nominal embedding."""
        return self.encoder.input_image_size[0] // self.encoder.image_embedding_size[0]

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


def images_of(features: Features, part: nn.Module, size: int | None = None) -> Tensor:
    """The images (N, C, H, W) that an encoder saw, for a part that looks at them itself.

    Args:
        features: As from a segmentor's ``encode``.
        part: The part, for the error.
        size: Height and width to resize the images to; None leaves them as they are.

    Raises:
        ConfigError: The features come without images.
    """
    images = features.images
    if images is None:
        raise ConfigError(
            f"{type(part).__name__}: found features without images, wants to look at the images "
            "too; give it what encode returns, not the embedding alone"
        )
    if size is None or images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
