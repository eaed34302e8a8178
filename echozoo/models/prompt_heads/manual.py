"""Prompts that a person, or the mask itself, gives: points, boxes and coarse masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segment_anything.modeling import PromptEncoder
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import PROMPT_HEADS
from echozoo.structures import EchoDataSample

# The fields of a sample that each kind of prompt needs.
FIELDS = {"points": ("points", "point_labels"), "boxes": ("boxes",), "masks": ("mask_prompts",)}


@PROMPT_HEADS.register_module()
class ManualPromptHead(nn.Module):
    """SAM's prompt encoder for batches of images with several structures each.

    Points without a box get SAM's padding point, so one click makes two sparse tokens. At another
    input size than the nominal one, coordinates are understood in the pixels of that input.

    A click beside the wall may mean the cavity or the wall. Where one model serves several
    structures, ``num_structures`` adds a learnt token to each prompt that says which one is meant.
    SAM and SAMUS have none: they are trained for one structure, or guess.

    Args:
        embed_dims: Channels of the embeddings.
        img_size: Nominal height and width of the network's input in pixels.
        embedding_size: Nominal height and width of the image embedding.
        prompts: Which prompts `forward` takes from the samples: "points", "boxes", "masks".
        num_structures: Structures that prompts name; 0 leaves them unnamed, as SAM does.

    Raises:
        ConfigError: No prompts, or unknown ones.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        img_size: int = 256,
        embedding_size: int = 32,
        prompts: Sequence[str] = ("points",),
        num_structures: int = 0,
    ) -> None:
        super().__init__()
        if not prompts or not set(prompts) <= set(FIELDS):
            raise ConfigError(
                f"ManualPromptHead: found prompts={tuple(prompts)}, wants some of {tuple(FIELDS)}"
            )
        self.prompts = tuple(prompts)
        grid, image = (embedding_size, embedding_size), (img_size, img_size)
        self.encoder = PromptEncoder(embed_dims, grid, image, mask_in_chans=16)
        self.names = nn.Embedding(num_structures, embed_dims) if num_structures else None

    def forward(
        self, embedding: Tensor, samples: list[EchoDataSample] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embed the prompts that the samples carry.

        Args:
            embedding: Image embeddings (N, C, h, w), N the frames of all samples in their order.
            samples: Clips with the fields of ``prompts``.

        Returns:
            As `embed`.

        Raises:
            ConfigError: A sample does not carry a prompt that this head was told to use.
        """
        fields = {
            field: self._collect(field, samples or [])
            for prompt in self.prompts
            for field in FIELDS[prompt]
        }
        return self.embed(
            embedding,
            points=fields.get("points"),
            labels=fields.get("point_labels"),
            boxes=fields.get("boxes"),
            masks=fields.get("mask_prompts"),
        )

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
            structures: Which of the ``num_structures`` the K prompts are for, from 0; None is all
                of them in their order.

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
                "ManualPromptHead: found no prompt, or points or labels alone; wants points with "
                "labels, boxes or masks"
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
        """Add the tokens that say which structures are meant, where the head has them.

        Args:
            sparse: (N, K, n, C).
            structures: As for `embed`.

        Returns:
            (N, K, n + 1, C), or ``sparse`` as it is.
        """
        if self.names is None:
            return sparse
        names = self.names.weight if structures is None else self.names.weight[list(structures)]
        if len(names) != sparse.shape[1]:
            raise ConfigError(
                f"ManualPromptHead: found prompts for {sparse.shape[1]} structures, wants "
                f"{len(names)}; say which of them are meant (structures=...)"
            )
        tokens = names[None, :, None].expand(len(sparse), -1, -1, -1)  # N, K, 1, C
        return torch.cat([sparse, tokens], 2)

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

    @staticmethod
    def _check_masks(masks: Tensor, size: Sequence[int]) -> Tensor:
        wanted = (4 * size[0], 4 * size[1])
        if tuple(masks.shape[-2:]) != wanted:
            raise ConfigError(
                f"ManualPromptHead: found mask prompts of {tuple(masks.shape[-2:])}, wants "
                f"{wanted}, four times the image embedding; resize them"
            )
        return masks

    @staticmethod
    def _collect(field: str, samples: list[EchoDataSample]) -> Tensor:
        for sample in samples:
            if field not in sample:
                name = sample.get("sequence", "a clip")
                raise ConfigError(
                    f"ManualPromptHead: found no {field!r} in the sample of {name}, wants it as "
                    "a prompt; add the transform that makes it or change the head's prompts"
                )
        if not samples:
            raise ConfigError(f"ManualPromptHead: found no samples, wants {field!r} from them")
        return torch.cat([sample.get(field) for sample in samples])  # N, K, ...
