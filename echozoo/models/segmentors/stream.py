"""The segmentor with a memory: frame after frame, each with what is known of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.models.layers.aggregation import aggregated_logits
from echozoo.models.prompts import Features, Prompts
from echozoo.models.segmentors.base import frames_of, has_labels, summed
from echozoo.models.segmentors.predictions import attach_structure_masks
from echozoo.models.segmentors.prompted import PromptedSegmentor, references_of
from echozoo.registry import MEMORIES, MODELS
from echozoo.structures import EchoDataSample

# The logit of a pixel that is certainly outside.
_OUTSIDE = -16.0


@MODELS.register_module()
class StreamSegmentor(PromptedSegmentor):
    """Image encoder, memory and mask decoder, through a film from its first frame on.

    ::

        clips (B, T, C, H, W)
          -> backbone, neck     features of all frames at once
          -> prompted frames    masks from a prompt head and the decoder, or given
          -> every frame:       memory.read -> memory.prompt -> decoder -> memory.write
          -> logits (B * T, K, H, W)

    Args:
        backbone: Image encoder.
        memory: Of `MEMORIES`.
        decoder: Mask decoder; it gets the memory's prompt as its dense one and no sparse ones. What
            it returns after logits and quality goes to the memory's ``observe``.
        prompted: Which frames of a clip are prompted, from 0, or from the end if negative; none
            starts from empty masks. Without a prompt head, masks (``mask_prompts``) are taken as
            they are.
        permanent: Whether prompted frames act on earlier frames, too (XMem++).
        revisit: Whether prompted frames are segmented from memory, too; else their masks are
            those that the prompts say, and count in no loss.
        aggregate: Whether the structures compete for each pixel.
        num_structures: K, where no prompts say it.
        **others: See `PromptedSegmentor`; the loss is on the grid of the images.
    """

    sees = "clip"

    def __init__(
        self,
        backbone: dict,
        memory: dict,
        decoder: dict,
        prompted: Sequence[int] = (0,),
        permanent: bool = False,
        revisit: bool = True,
        aggregate: bool = True,
        num_structures: int = 3,
        **others,
    ) -> None:
        super().__init__(backbone, decoder, memory=MEMORIES.build(memory), **others)
        self.prompted, self.permanent, self.revisit = tuple(prompted), permanent, revisit
        self.aggregate, self.num_structures = aggregate, num_structures

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[EchoDataSample] | None = None,
        mode: str = "tensor",
    ) -> Tensor | dict[str, Tensor] | list[EchoDataSample]:
        """Run the whole path, as `PromptableSegmentor` does; logits are (B * T, K, H, W)."""
        num_frames = inputs.shape[1]
        features = self.encode(frames_of(inputs), num_frames)
        given = self._given(features, data_samples)
        structures = self.num_structures
        if data_samples:
            structures = len(data_samples[0].get("structures", range(structures)))
        # Where every frame is given, training has nothing else to learn from.
        revisit = self.revisit or (mode == "loss" and len(given) == num_frames)
        logits, _ = self.stream(
            features, given, structures=structures, revisit=revisit, goes_on=False
        )
        seen = [t for t in range(num_frames) if revisit or t not in given]
        if mode == "tensor":
            return logits.flatten(0, 1)
        if mode == "loss":
            films = self.film_losses(logits.flatten(0, 1).float().sigmoid(), data_samples, features)
            return self._loss(logits, data_samples, seen) | films
        for sample, clip in zip(data_samples, logits, strict=True):
            attach_structure_masks(sample, clip, self.postprocessing)
            if self.prompt_head is None:  # of clicks the masks are this model's own
                sample.given = torch.tensor([t in given for t in range(num_frames)])
            if self.measure_loss and has_labels(sample):
                sample.loss = summed(self._loss(clip[None], [sample], seen))
        return list(data_samples)

    def decode(self, features: Features, prompts: Prompts) -> tuple[Tensor, Tensor | None]:
        """Masks for the prompts of single frames, without memory.

        Returns:
            Logits (N, K, h, w), and the quality that the decoder expects of each mask (N, K); of
            given masks none.
        """
        if self.prompt_head is None:
            return prompts.masks, None
        return self._decode(features, prompts)[:2]

    def stream(
        self,
        features: Features,
        given: Mapping[int, Tensor] | None = None,
        state: object | None = None,
        start: int = 0,
        structures: int | None = None,
        revisit: bool | None = None,
        goes_on: bool = True,
    ) -> tuple[Tensor, object]:
        """Go through T frames of B films.

        Args:
            features: Of N = B * T frames.
            given: Masks (B, K, H, W) as logits of some of these frames, by their place from 0.
            state: What the memory knows of the film before; None is nothing.
            start: Index of the first of these frames in the film.
            structures: K; None is as many as the given masks or the state have.
            revisit: As in the config, which is meant by None.
            goes_on: Whether the state is wanted: the last frame is not written otherwise.

        Returns:
            Logits (B, T, K, H, W) and the state.
        """
        frames, given = features.num_frames, dict(given or {})
        revisit = self.revisit if revisit is None else revisit
        memory, keys = self.memory, self.memory.keys(features)
        if structures is None:
            structures = next(iter(given.values())).shape[1] if given else self.num_structures
        batch, size = len(features) // frames, features.images.shape[-2:]
        if state is None:
            state = memory.start(batch, structures, features.embedding)
            if not given:
                shape = (batch, structures, *size)
                given[0] = features.images.new_full(shape, _OUTSIDE)
        each = [(features[t::frames], keys[t::frames]) for t in range(frames)]
        if self.permanent:
            for t, masks in given.items():
                state = memory.write(state, start + t, *each[t], masks, permanent=True)
        logits = []
        for t, now in enumerate(each):
            if t in given and not self.permanent:
                state = memory.write(state, start + t, *now, given[t], given=True)
            if t in given and not revisit:
                logits.append(given[t])
                continue
            masks, state = self._segment(state, start + t, *now)
            logits.append(masks)
            if goes_on or t + 1 < frames:
                state = memory.write(state, start + t, *now, masks)
        return torch.stack(logits, 1), state

    def _segment(self, state: object, t: int, features: Features, keys: object) -> tuple:
        """Logits (B, K, H, W) of frame t from memory, and the state."""
        readout, state = self.memory.read(state, keys)
        dense, state = self.memory.prompt(features, readout, state)
        dense_pe = sparse = None
        if self.prompt_head is not None:
            dense_pe = self.prompt_head.dense_pe(features.size)
            sparse = dense.new_zeros(*dense.shape[:2], 0, dense.shape[2])
        logits, _, *seen = self.decoder(features, dense_pe, sparse, dense)
        state = self.memory.observe(state, t, *seen) if seen else state
        return self._enlarged(logits[:, :, 0], features), state

    def _enlarged(self, logits: Tensor, features: Features) -> Tensor:
        size = features.images.shape[-2:]
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return aggregated_logits(logits) if self.aggregate else logits

    def _given(
        self, features: Features, samples: Sequence[EchoDataSample] | None
    ) -> dict[int, Tensor]:
        """Masks (B, K, H, W) as logits of the prompted frames of clips."""
        frames = features.num_frames
        places = sorted({t % frames for t in self.prompted if -frames <= t < frames})
        if not places:
            return {}
        kinds = ("masks",) if self.prompt_head is None else self.prompt_head.kinds
        prompts = Prompts.of_samples(samples, kinds) if kinds else Prompts()
        clips = [features[t::frames] for t in places]
        each = [prompts[t::frames] for t in places]
        masks = [self.decode(*both)[0] for both in zip(clips, each, strict=True)]
        return {t: self._enlarged(*both) for t, *both in zip(places, masks, clips, strict=True)}

    def _loss(
        self, logits: Tensor, samples: Sequence[EchoDataSample], seen: Sequence[int]
    ) -> dict[str, Tensor]:
        """Losses of logits (B, T, K, H, W), of the frames that were ``seen``."""
        references = references_of(samples, logits.shape[2], logits.shape[-2:])
        clips = (logits.float(), *(one.unflatten(0, logits.shape[:2]) for one in references))
        return self.loss_function(*(one[:, list(seen)].flatten(0, 1) for one in clips))
