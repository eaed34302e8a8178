"""The segmentor of the SAM family: an image, a prompt a structure, a mask a structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from echozoo.models import contracts
from echozoo.models.inserts import add_inserts
from echozoo.models.prompts import Features, Prompts
from echozoo.models.segmentors.base import (
    ClipSegmentorMixin,
    frames_of,
    has_labels,
    labelled_of,
    labels_of,
    summed,
)
from echozoo.models.segmentors.clicks import decode_clicks
from echozoo.models.segmentors.predictions import attach_structure_masks
from echozoo.postprocessing import Postprocessing
from echozoo.registry import MODELS, PROMPT_HEADS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class PromptableSegmentor(ClipSegmentorMixin, BaseModel):
    """Image encoder, neck, prompt head and mask decoder, from a clip to its masks.

    ::

        clips (B, T, C, H, W)
          -> backbone, neck     embedding (B * T, E, h, w), once for all structures
          -> prompt head        sparse and dense prompt embeddings of K structures
          -> decoder            logits (B * T, K, 4h, 4w)
          -> loss | masks on the grid of the image file

    Every part is replaced in the config, never by a subclass.

    Args:
        backbone: Image encoder: ``(images (N, C, H, W), num_frames)`` to a map (N, E, h, w),
            several of them, or `Features`; says what `echozoo.models.contracts` asks. Its
            ``inserts`` are temporal modules (see `echozoo.models.inserts`).
        prompt_head: Its ``kinds`` are taken from the samples; its ``embed`` is called as
            ``(features, prompts, output_tokens)``. If it has a ``loss``, that is called as
            ``(features, masks, labelled)`` with the features that ``embed`` returned and the
            masks at the input's size, and counts beside the masks' own.
        decoder: Mask decoder; its ``output_tokens()`` are those that the prompt head gets.
        neck: Between backbone and the rest; (N, E, h, w) in and out.
        loss: Called as ``(logits, masks, labelled)`` on the decoder's own resolution; None for a
            model that only predicts.
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
    """

    def __init__(
        self,
        backbone: dict,
        prompt_head: dict,
        decoder: dict,
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
    ) -> None:
        data_preprocessor = data_preprocessor or {"type": "EchoDataPreprocessor"}
        super().__init__(data_preprocessor=MODELS.build(data_preprocessor))
        backbone = dict(backbone)
        inserts = backbone.pop("inserts", ())
        self.backbone = MODELS.build(backbone)
        add_inserts(self.backbone, inserts)
        self.neck = MODELS.build(neck) if neck else None
        self.prompt_head = PROMPT_HEADS.build(
            contracts.sized(prompt_head, PROMPT_HEADS, self.backbone)
        )
        self.decoder = MODELS.build(contracts.sized(decoder, MODELS, self.backbone))
        self.loss_function = MODELS.build(loss) if loss else None
        self.postprocessing = Postprocessing(postprocessing)
        self.measure_loss = measure_loss
        # See `echozoo.engine.feature_cache`; set from outside.
        self.feature_cache: Callable[..., tuple[Tensor, ...]] | None = None
        self.prepare(adapters, frozen, trainable, pretrained, view_head)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[EchoDataSample] | None = None,
        mode: str = "tensor",
    ) -> Tensor | dict[str, Tensor] | list[EchoDataSample]:
        """Run the whole path.

        Args:
            inputs: Scaled clips (B, T, C, H, W).
            data_samples: B samples, with the prompts if the head wants some, and in training with
                the labels.
            mode: ``"tensor"`` for logits (B * T, K, 4h, 4w), ``"loss"`` for a dict of losses,
                ``"predict"`` for the samples with ``pred_masks`` and ``pred_labels``.

        Returns:
            What ``mode`` says.
        """
        features = self.encode(frames_of(inputs), num_frames=inputs.shape[1])
        prompts = Prompts.of_samples(data_samples, self.prompt_head.kinds)
        logits, _, features = self._decode_seen(features, prompts)
        if mode == "tensor":
            return logits
        if mode == "loss":
            losses = self._loss(logits, data_samples)
            return losses | self._head_loss(features, data_samples, logits.shape[1])
        clips = logits.unflatten(0, inputs.shape[:2])  # (B, T, K, 4h, 4w)
        for sample, clip in zip(data_samples, clips, strict=True):
            attach_structure_masks(sample, clip, self.postprocessing)
            if self.measure_loss and has_labels(sample):
                sample.loss = summed(self._loss(clip, [sample]))
        return list(data_samples)

    def encode(self, images: Tensor, num_frames: int = 1) -> Features:
        """Embed images: the costly half, needed once a frame whatever is clicked on it.

        Args:
            images: (N, C, H, W), scaled as in training; one channel stands for three equal ones.
                Frames of one clip follow each other.
            num_frames: T, so that N = B * T.

        Returns:
            Features whose last map is the image embedding (N, E, h, w).
        """
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if self.feature_cache is None or traced:
            maps = self._encode(images, num_frames)
        else:
            maps = self.feature_cache(self._encode, images, num_frames)
        return Features(maps, num_frames, images)

    def decode(
        self,
        features: Features | Tensor,
        prompts: Prompts | Tensor,
        labels: Tensor | None = None,
        structures: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor] | Tensor:
        """Masks for prompts: the cheap half, needed once a click.

        A head that takes boxes and no points gets boxes around points, see `decode_clicks`. One
        that prompts itself does so where the prompts are empty, and takes points as if it did not.

        The short form ``decode(embedding, points, labels, structures)``, with points
        (N, K, P, 2) and labels (N, K, P) as in `Prompts`, gives the logits alone.

        Args:
            features: What `encode` returned, or its embedding (N, E, h, w).
            prompts: For K structures in each of the N frames.
            labels: Of the short form.
            structures: Of the short form.

        Returns:
            Low-resolution logits (N, K, 4h, 4w), and the quality that the decoder expects of each
            mask (N, K).
        """
        if not isinstance(prompts, Prompts):
            named = None if structures is None else tuple(structures)
            given = Prompts(points=prompts, labels=labels, structures=named)
            return self.decode(Features.of(features), given)[0]
        features, kinds = Features.of(features), self.prompt_head.kinds
        if prompts.kinds == {"points"} and "boxes" in kinds and "points" not in kinds:
            return decode_clicks(self._decode, features, prompts, self.prompt_head.stride)
        return self._decode(features, prompts)

    def _encode(self, images: Tensor, num_frames: int) -> tuple[Tensor, ...]:
        features = Features.of(contracts.encode(self.backbone, images, num_frames))
        if self.neck is not None:
            features = features.replaced(self.neck(features.embedding))
        return features.maps

    def _decode(self, features: Features, prompts: Prompts) -> tuple[Tensor, Tensor]:
        return self._decode_seen(features, prompts)[:2]

    def _decode_seen(self, features: Features, prompts: Prompts) -> tuple[Tensor, Tensor, Features]:
        """Logits (N, K, 4h, 4w), quality (N, K), and the features that the prompt head returned."""
        tokens = self.decoder.output_tokens()
        sparse, dense, features = self.prompt_head.embed(features, prompts, tokens)
        dense_pe = self.prompt_head.dense_pe(features.size)
        logits, quality = self.decoder(features, dense_pe, sparse, dense)
        # Of (N, K, 1, 4h, 4w) and (N, K, 1), a mask a structure.
        return logits[:, :, 0], quality[:, :, 0], features

    def _loss(self, logits: Tensor, samples: Sequence[EchoDataSample]) -> dict[str, Tensor]:
        masks, labelled = _references(samples, logits.shape[1], logits.shape[-2:])
        return self.loss_function(logits.float(), masks, labelled)

    def _head_loss(
        self, features: Features, samples: Sequence[EchoDataSample], structures: int
    ) -> dict[str, Tensor]:
        """What a prompt head with a ``loss`` of its own makes of what its ``embed`` returned."""
        if not hasattr(self.prompt_head, "loss"):
            return {}
        masks, labelled = _references(samples, structures, samples[0].gt_labels.shape[-2:])
        return self.prompt_head.loss(features, masks, labelled)


def _references(
    samples: Sequence[EchoDataSample], structures: int, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Masks (N, K, h, w) float32 of a size, and which of them are labelled (N, K) bool."""
    labels = labels_of(samples, size)  # (N, h, w)
    numbers = torch.arange(1, structures + 1, device=labels.device)
    masks = labels[:, None] == numbers.view(1, -1, 1, 1)  # (N, K, h, w)
    return masks.float(), labelled_of(samples, structures)
