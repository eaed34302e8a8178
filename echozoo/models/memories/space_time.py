"""Memories of earlier frames that a new frame looks things up in: STM, STCN, XMem, MemSAM."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from echozoo.models.memories.base import FusedMemory, key_conv
from echozoo.models.memories.consolidation import attended, consolidated
from echozoo.models.memories.published import PUBLISHED
from echozoo.models.memories.reading import affinity, check_similarity
from echozoo.models.memories.state import Bank, Keys, SpaceTimeState
from echozoo.models.prompts import Features
from echozoo.registry import MEMORIES


@MEMORIES.register_module()
class SpaceTimeMemory(FusedMemory):
    """Keys and values of earlier frames, read by attention.

    ::

        frame t:  keys -> read the values of frames that look alike -> prompt of the decoder
        its masks:  value encoder -> written, every so often

    In training every frame is written and every position read; ``every``, ``top_k``,
    ``max_frames`` and ``long_term`` are for films that are longer than a clip.

    Args:
        similarity: "dot" (STM), "l2" (STCN) or "anisotropic_l2" (XMem).
        top_k: How many positions each position reads; None is all.
        every: A frame is kept if the last one that was kept is so many frames back.
        keep_last: Whether the frame before is always there, too.
        max_frames: Frames that are kept: the first and the latest; None is all.
        long_term: Settings of `consolidated`, for XMem's long-term memory; None is without.
        feed: What values are made of, "probability" or "logits" (MemSAM).
        deep_every: Frames t whose masks change the sensory state too are those that it divides; 0
            is none, None all that are kept, which then change it by their masks alone (XMem).
        deep_probability: The chance of that in training, where it is drawn.
        **fused: See `FusedMemory`.
    """

    published = PUBLISHED

    def __init__(
        self,
        similarity: str = "anisotropic_l2",
        top_k: int | None = None,
        every: int = 1,
        keep_last: bool = False,
        max_frames: int | None = None,
        long_term: Mapping | None = None,
        feed: str = "probability",
        deep_every: int | None = None,
        deep_probability: float = 0.2,
        **fused,
    ) -> None:
        super().__init__(**fused)
        check_similarity(similarity)
        self.similarity, self.top_k, self.every = similarity, top_k, every
        self.keep_last, self.max_frames, self.long_term = keep_last, max_frames, long_term
        self.feed = feed
        self.deep_every, self.deep_probability = deep_every, deep_probability
        anisotropic = similarity == "anisotropic_l2"
        channels, key_dims = self.key.in_channels, self.key.out_channels
        self.shrinkage = key_conv(channels, 1) if anisotropic else None
        self.selection = key_conv(channels, key_dims) if anisotropic else None

    def start(self, batch: int, structures: int, like: Tensor) -> SpaceTimeState:
        """Make the state before B films of K structures, for features (..., h, w)."""
        return SpaceTimeState(structures, self.senses_before(batch, structures, like))

    def keys(self, features: Features) -> Keys:
        """Compute what N frames are looked up by; all frames of a clip at once."""
        x = features.embedding
        key = self.key(x)
        if self.shrinkage is None:
            return Keys(key, torch.ones_like(key[:, :1]), torch.ones_like(key))
        return Keys(key, self.shrinkage(x).square() + 1, self.selection(x).sigmoid())

    def read(self, state: SpaceTimeState, keys: Keys) -> tuple[Tensor, SpaceTimeState]:
        """Look one frame of each film up.

        Returns:
            Read-out (B, K, C, h, w), and the state, which counts what was read.
        """
        names, banks = zip(*state.banks(), strict=True)
        bank = Bank.joined(*banks)
        query, selection = (one.flatten(2).unsqueeze(1) for one in (keys.key, keys.selection))
        weights = affinity(
            self.similarity,
            bank.keys,
            query,  # B, 1, C, M
            bank.shrinkage,
            selection,
            None if self.training else self.top_k,
        )
        readout = bank.values @ weights  # B, K, C, M
        if self.long_term and not self.training:
            parts = weights.detach().split([len(one) for one in banks], -2)
            counted = {
                name: attended(one, part)
                for name, one, part in zip(names, banks, parts, strict=True)
            }
            state = replace(state, **counted)
        return readout.unflatten(-1, keys.key.shape[-2:]), state

    def follows(self, state: SpaceTimeState, t: int) -> bool:
        """Whether the senses follow the decoder in frame t, or its masks alone change them."""
        alone = self.deep_every is None and not self.training
        return not (alone and self._is_due(state, t))

    def write(
        self,
        state: SpaceTimeState,
        t: int,
        features: Features,
        keys: Keys,
        masks: Tensor,
        permanent: bool = False,
        given: bool = False,
    ) -> SpaceTimeState:
        """Keep a frame with its masks, if it is time to; one that is kept already is replaced.

        Args:
            state: Of the films.
            t: Index of the frame in the film.
            features: Of frame t of B films, with the images.
            keys: Of the same.
            masks: Logits (B, K, H, W) on the grid of the images.
            permanent: Whether the frame acts on all others, earlier ones too, and is never
                consolidated.
            given: Whether the masks are from outside, and not this model's: always kept. A
                permanent frame that is given is where the film is started from.
        """
        is_kept = given or permanent or self._is_due(state, t)
        if t in state.permanent_frames or not (is_kept or self.keep_last):
            return state
        bank, values = self._memorised(features, keys, masks)
        if self.deep_update is not None and (given or not permanent and self._is_deep(t)):
            state = replace(state, sensory=self.deep_update(values, state.sensory))
        if permanent:
            frames = (*state.permanent_frames, t)
            kept = bank if state.permanent is None else state.permanent.joined(bank)
            return replace(state, permanent=kept, permanent_frames=frames)
        if not is_kept:
            return replace(state, last=bank)
        return self._kept(state, t, bank)

    def _memorised(self, features: Features, keys: Keys, masks: Tensor) -> tuple[Bank, Tensor]:
        shares = masks.sigmoid()
        others = shares.sum(1, keepdim=True) - shares
        masks = shares if self.feed == "probability" else masks
        key = keys.key.unsqueeze(1)  # B, 1, C, h, w
        values = self.value_encoder(features, masks, others)
        shrinkage, selection = keys.shrinkage.unsqueeze(1), keys.selection.unsqueeze(1)
        if self.has_pairs:
            key, values = values
            groups = key.shape[1]
            shrinkage = shrinkage.expand(-1, groups, -1, -1, -1)
            selection = selection.expand(-1, groups, -1, -1, -1)
        unused = key.new_zeros(len(key), key.shape[-2] * key.shape[-1])
        flat = (one.flatten(-2) for one in (key, shrinkage, selection, values))
        return Bank(*flat, use=unused, age=unused), values

    def _kept(self, state: SpaceTimeState, t: int, bank: Bank) -> SpaceTimeState:
        working, frames, size = state.working, list(state.frames), len(bank)
        while t in frames or (self.max_frames and len(frames) >= self.max_frames):
            # One that is written again, or else the oldest after the first.
            place = frames.index(t) if t in frames else min(1, len(frames) - 1)
            before, after = working.part(0, place * size), working.part((place + 1) * size)
            working = before.joined(after)
            del frames[place]
        working = bank if working is None else working.joined(bank)
        state = replace(state, working=working, frames=(*frames, t), last=None)
        if self.long_term and not self.training:
            state = consolidated(state, self.similarity, **self.long_term)
        return state

    def _is_due(self, state: SpaceTimeState, t: int) -> bool:
        if self.training or not state.frames or t in state.frames:
            return True
        return t - state.frames[-1] >= self.every

    def _is_deep(self, t: int) -> bool:
        if self.training:
            return random.random() < self.deep_probability
        return self.deep_every is None or (self.deep_every > 0 and t % self.deep_every == 0)
