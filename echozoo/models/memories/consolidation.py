"""XMem's long-term memory: many positions of old frames become a few prototypes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from echozoo.models.memories.reading import affinity
from echozoo.models.memories.state import Bank, SpaceTimeState


def attended(bank: Bank, weights: Tensor) -> Bank:
    """Count what a read paid to each position of a bank.

    Args:
        bank: N positions.
        weights: Attention (B, G, N, M).
    """
    return replace(bank, use=bank.use + weights.sum(-1).mean(1), age=bank.age + 1)


def consolidated(
    state: SpaceTimeState,
    similarity: str,
    longest: int = 10,
    shortest: int = 5,
    prototypes: int = 128,
    most: int = 10_000,
) -> SpaceTimeState:
    """Move frames of the working memory to the long-term memory, where it is full.

    Its first frame and its last ``shortest`` - 1 stay.

    Args:
        state: A state.
        similarity: As for `affinity`.
        longest: Frames that the working memory holds at most.
        shortest: Frames that it is cut down to.
        prototypes: Positions that the others become.
        most: Positions of the long-term memory; those that are used least go.
    """
    working = state.working
    if len(state.frames) < longest:
        return state
    size = len(working) // len(state.frames)  # positions of a frame
    kept = len(working) - (shortest - 1) * size
    candidates = working.part(size, kept)
    rate = candidates.use / candidates.age.clamp(min=1e-7)
    places = rate.topk(min(prototypes, len(candidates)), dim=-1).indices  # B, P
    chosen = candidates.chosen(places)
    weights = affinity(
        similarity, candidates.keys, chosen.keys, candidates.shrinkage, chosen.selection
    )
    made = replace(
        chosen,
        values=candidates.values @ weights,
        shrinkage=candidates.shrinkage @ weights,
        use=chosen.use * 0,
        age=chosen.age * 0,
    )
    old = () if state.long_term is None else (_most_used(state.long_term, most - prototypes),)
    return replace(
        state,
        working=working.part(0, size).joined(working.part(kept)),
        frames=(state.frames[0], *state.frames[len(state.frames) - shortest + 1 :]),
        long_term=Bank.joined(*old, made),
    )


def _most_used(bank: Bank, most: int) -> Bank:
    if len(bank) <= most:
        return bank
    rate = bank.use / bank.age.clamp(min=1e-7)
    return bank.chosen(rate.topk(most, dim=-1).indices.sort(-1).values)
