"""What segmentors with a mask decoder share: their parts, how they encode and decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from echozoo.models import contracts
from echozoo.models.inserts import add_inserts
from echozoo.models.losses.film_losses import FilmLosses
from echozoo.models.prompts import Features, Prompts
from echozoo.models.segmentors.base import ClipSegmentorMixin, labelled_of, labels_of
from echozoo.postprocessing import Postprocessing
from echozoo.registry import MODELS, PROMPT_HEADS
from echozoo.structures import EchoDataSample


class PromptedSegmentor(ClipSegmentorMixin, BaseModel):
    """Image encoder, neck, prompt head and mask decoder, built from their configs.

    Args:
        backbone: Image encoder: ``(images (N, C, H, W), num_frames)`` to a map (N, E, h, w),
            several of them, or `Features`; says what `echozoo.models.contracts` asks. Its
            ``inserts`` are temporal modules (see `echozoo.models.inserts`).
        decoder: Mask decoder.
        prompt_head: Embeds prompts; sizes that its config and the decoder's leave out are the
            backbone's.
        neck: Between backbone and the rest; (N, E, h, w) in and out.
        loss: Called as ``(logits, masks, labelled)``; None for a model that only predicts.
        adapters: What goes around layers of the parts (see
            `echozoo.models.passes.adapting.add_adapters`), before any is frozen.
        frozen: Name patterns of parameters that do not train.
        trainable: Exceptions to these.
        pretrained: Weights to start from (see `echozoo.models.checkpoints.initialise`); None
            starts from scratch.
        data_preprocessor: Scales the images.
        postprocessing: Steps for the predictions (see `echozoo.postprocessing`); none by default.
        measure_loss: Whether a predicted sample with labels carries the loss of its clip, which
            `LossMetric` averages.
        view_head: Tells the view from the features (see `ViewHead`).
        film_losses: What clips cost beside ``loss``, labels or not (see `FilmLosses`).
        memory: A subclass's further part, built.
    """

    def __init__(
        self,
        backbone: dict,
        decoder: dict,
        prompt_head: dict | None = None,
        neck: dict | None = None,
        loss: dict | None = None,
        adapters: Sequence[dict] = (),
        frozen: Sequence[str] = (),
        trainable: Sequence[str] = (),
        pretrained: str | dict | None = None,
        data_preprocessor: dict | None = None,
        postprocessing: Sequence[dict] = (),
        measure_loss: bool = False,
        view_head: dict | None = None,
        film_losses: Sequence[dict] = (),
        memory: nn.Module | None = None,
    ) -> None:
        data_preprocessor = data_preprocessor or {"type": "EchoDataPreprocessor"}
        super().__init__(data_preprocessor=MODELS.build(data_preprocessor))
        backbone = dict(backbone)
        inserts = backbone.pop("inserts", ())
        self.backbone = MODELS.build(backbone)
        add_inserts(self.backbone, inserts)
        self.neck = MODELS.build(neck) if neck else None
        if memory is not None:
            self.add_module("memory", memory)
        if prompt_head:
            prompt_head = contracts.sized(prompt_head, PROMPT_HEADS, self.backbone)
        self.prompt_head = PROMPT_HEADS.build(prompt_head) if prompt_head else None
        self.decoder = MODELS.build(contracts.sized(decoder, MODELS, self.backbone))
        self.loss_function = MODELS.build(loss) if loss else None
        self.film_losses = FilmLosses(film_losses)
        self.postprocessing = Postprocessing(postprocessing)
        self.measure_loss = measure_loss
        # See `echozoo.engine.kept_features`; set from outside.
        self.feature_cache: Callable[..., tuple[Tensor, ...]] | None = None
        self.prepare(adapters, frozen, trainable, pretrained, view_head)

    def encode(self, images: Tensor, num_frames: int = 1) -> Features:
        """Embed images: the costly half, needed once a frame whatever is clicked on it.

        Args:
            images: (N, C, H, W), scaled as in training; one channel stands for three equal ones.
                Frames of one clip follow each other.
            num_frames: T, so that N = B * T.

        Returns:
            Features whose last map is the image embedding (N, E, h, w), with what a prompt head
            that can ``look`` at images finds in them without being asked.
        """
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if self.feature_cache is None or traced:
            maps = self._encode(images, num_frames)
        else:
            maps = self.feature_cache(self._encode, images, num_frames)
        features = Features(maps, num_frames, images)
        look = getattr(self.prompt_head, "look", None)
        return features if look is None else look(features)

    def _encode(self, images: Tensor, num_frames: int) -> tuple[Tensor, ...]:
        features = Features.of(contracts.encode(self.backbone, images, num_frames))
        if self.neck is not None:
            features = features.replaced(self.neck(features.embedding))
        return features.maps

    def _decode(self, features: Features, prompts: Prompts) -> tuple[Tensor, Tensor, Features]:
        """Logits (N, K, 4h, 4w), quality (N, K), and the features that the prompt head returned."""
        tokens = self.decoder.output_tokens()
        sparse, dense, features = self.prompt_head.embed(features, prompts, tokens)
        dense_pe = self.prompt_head.dense_pe(features.size)
        logits, quality = self.decoder(features, dense_pe, sparse, dense)
        # Of (N, K, 1, 4h, 4w) and (N, K, 1), a mask a structure.
        return logits[:, :, 0], quality[:, :, 0], features


def references_of(
    samples: Sequence[EchoDataSample], structures: int, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Collect what the masks of a batch should be.

    Args:
        samples: B data samples with ``gt_labels`` (T, H, W).
        structures: K.
        size: (h, w) to resample to, nearest neighbour.

    Returns:
        Masks (B * T, K, h, w) float32, and which of them are labelled (B * T, K) bool.
    """
    labels = labels_of(samples, size)  # (N, h, w)
    numbers = torch.arange(1, structures + 1, device=labels.device)
    masks = labels[:, None] == numbers.view(1, -1, 1, 1)  # (N, K, h, w)
    return masks.float(), labelled_of(samples, structures)
