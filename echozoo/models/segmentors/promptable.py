"""The segmentor of the SAM family: an image, a prompt a structure, a mask a structure."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from echozoo.models.prompts import Features, Prompts, has_kind
from echozoo.models.segmentors.base import frames_of, has_labels, summed
from echozoo.models.segmentors.clicks import decode_clicks
from echozoo.models.segmentors.predictions import attach_structure_masks
from echozoo.models.segmentors.prompted import PromptedSegmentor, references_of
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@MODELS.register_module()
class PromptableSegmentor(PromptedSegmentor):
    """Image encoder, neck, prompt head and mask decoder, from a clip to its masks.

    ::

        clips (B, T, C, H, W)
          -> backbone, neck     embedding (B * T, E, h, w), once for all structures
          -> prompt head        sparse and dense prompt embeddings of K structures
          -> decoder            logits (B * T, K, 4h, 4w)
          -> loss | masks on the grid of the image file

    Every part is replaced in the config, never by a subclass.

    Args:
        backbone: Image encoder.
        prompt_head: Its ``kinds`` are taken from the samples, and its ``corrections``, if it has
            such, where all samples carry them; its ``embed`` is called as
            ``(features, prompts, output_tokens)``. If it has a ``loss``, that is called as
            ``(features, masks, labelled)`` with the features that ``embed`` returned and the
            masks at the input's size, and counts beside the masks' own.
        decoder: Mask decoder; its ``output_tokens()`` are those that the prompt head gets.
        **others: See `PromptedSegmentor`; the loss is on the decoder's own resolution.
    """

    def __init__(self, backbone: dict, prompt_head: dict, decoder: dict, **others) -> None:
        super().__init__(backbone, decoder, prompt_head, **others)

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
        prompts = self.prompts_of(data_samples)
        logits, _, features = self._decode(features, prompts)
        if mode == "tensor":
            return logits
        if mode == "loss":
            losses = self._loss(logits, data_samples, features)
            return losses | self._head_loss(features, data_samples, logits.shape[1])
        clips = logits.unflatten(0, inputs.shape[:2])  # (B, T, K, 4h, 4w)
        for sample, clip in zip(data_samples, clips, strict=True):
            attach_structure_masks(sample, clip, self.postprocessing)
            if self.measure_loss and has_labels(sample):
                sample.loss = summed(self._mask_loss(clip, [sample]))
        return list(data_samples)

    def prompts_of(self, samples: Sequence[EchoDataSample] | None) -> Prompts:
        """What samples carry of the prompts that the head wants, or takes as corrections."""
        offered = getattr(self.prompt_head, "corrections", ())
        taken = [kind for kind in offered if samples and all(has_kind(s, kind) for s in samples)]
        return Prompts.of_samples(samples, (*self.prompt_head.kinds, *taken))

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
            return decode_clicks(self.decode, features, prompts, self.prompt_head.stride)
        return self._decode(features, prompts)[:2]

    def _mask_loss(self, logits: Tensor, samples: Sequence[EchoDataSample]) -> dict[str, Tensor]:
        masks, labelled = references_of(samples, logits.shape[1], logits.shape[-2:])
        return self.loss_function(logits.float(), masks, labelled)

    def _loss(
        self, logits: Tensor, samples: Sequence[EchoDataSample], features: Features
    ) -> dict[str, Tensor]:
        films = self.film_losses(logits.float().sigmoid(), samples, features)
        return self._mask_loss(logits, samples) | films

    def _head_loss(
        self, features: Features, samples: Sequence[EchoDataSample], structures: int
    ) -> dict[str, Tensor]:
        """What a prompt head with a ``loss`` of its own makes of what its ``embed`` returned."""
        if not hasattr(self.prompt_head, "loss"):
            return {}
        masks, labelled = references_of(samples, structures, samples[0].gt_labels.shape[-2:])
        return self.prompt_head.loss(features, masks, labelled)
