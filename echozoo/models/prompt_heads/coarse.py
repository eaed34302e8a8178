"""Prompts from the coarse masks of a second network, which looks at the image itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.base import SAMPromptHead, images_of
from echozoo.models.prompts import Features
from echozoo.registry import MODELS


class CoarsePromptHead(SAMPromptHead):
    """What prompt heads with a coarse network share: the network, its logits, its loss.

    Subclasses make prompts of the logits; they keep them in the features that ``embed`` returns,
    under ``coarse``.

    Args:
        coarse: The network: ``backbone`` and ``decode_head`` of mmseg or of this project. Its
            classes are the K structures, each a logit of its own, or these behind a background.
        num_structures: K.
        coarse_size: Height and width of the image that the network sees; None is the input's.
        coarse_loss: Of the network's own logits, called as ``(logits, masks, labelled)``.
        **sizes: See `SAMPromptHead`.

    Raises:
        ConfigError: The network has another number of classes.
    """

    def __init__(
        self,
        coarse: dict,
        num_structures: int = 1,
        coarse_size: int | None = None,
        coarse_loss: dict | None = None,
        **sizes: int,
    ) -> None:
        super().__init__(**sizes)
        self.coarse = nn.ModuleDict({name: MODELS.build(part) for name, part in coarse.items()})
        self.num_structures, self.coarse_size = num_structures, coarse_size
        classes = self.coarse["decode_head"].num_classes
        if classes not in (num_structures, num_structures + 1):
            raise ConfigError(
                f"{type(self).__name__}: found num_classes={classes} of the coarse network, wants "
                f"{num_structures}, one for each structure, or {num_structures + 1} with a "
                "background; change one of the two"
            )
        self.has_background = classes > num_structures
        self.coarse_loss = MODELS.build(coarse_loss or dict(type="DiceCELoss"))

    def coarse_maps(self, features: Features) -> Sequence[Tensor]:
        """What the network's backbone makes of the features' images, for its decode head.

        Raises:
            ConfigError: The features come without images.
        """
        images = images_of(features, self, self.coarse_size)
        return self.coarse["backbone"](images.expand(-1, 3, -1, -1))

    def loss(self, features: Features, masks: Tensor, labelled: Tensor) -> dict[str, Tensor]:
        """Compare the coarse logits with the references.

        Args:
            features: As from ``embed``.
            masks: References (N, K, H, W).
            labelled: Which of them are there, (N, K) bool.

        Returns:
            The coarse loss's terms, named as such; none where the prompts were given.
        """
        logits = features.extra.get("coarse")
        if logits is None:
            return {}
        masks = F.interpolate(masks, logits.shape[-2:], mode="nearest-exact")
        terms = self.coarse_loss(logits.float(), masks, labelled)
        return {f"coarse_{name}": value for name, value in terms.items()}


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Coarse logits (N, K, h, w) on the pixels of the input, corner on corner."""
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=True)
