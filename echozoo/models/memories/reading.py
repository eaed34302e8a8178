"""How a memory is read: which of its positions a position of the new frame resembles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from echozoo.errors import ConfigError


def dot(keys: Tensor, queries: Tensor, shrinkage: Tensor, selection: Tensor) -> Tensor:
    """STM's similarity: the scalar product."""
    return keys.mT @ queries


def l2(keys: Tensor, queries: Tensor, shrinkage: Tensor, selection: Tensor) -> Tensor:
    """STCN's: the negative squared distance, less what is equal for all positions of a memory."""
    return 2 * keys.mT @ queries - keys.square().sum(-2)[..., None]


def anisotropic_l2(keys: Tensor, queries: Tensor, shrinkage: Tensor, selection: Tensor) -> Tensor:
    """XMem's: channels count as the new frame selects, positions as the memory's confidence."""
    near = 2 * keys.mT @ (queries * selection) - keys.square().mT @ selection
    own = (selection * queries.square()).sum(-2, keepdim=True)  # ..., 1, M
    return (near - own) * shrinkage.mT


_SIMILARITIES = {one.__name__: one for one in (dot, l2, anisotropic_l2)}


def check_similarity(name: str) -> None:
    """Raise a ConfigError where there is no such similarity."""
    if name not in _SIMILARITIES:
        raise ConfigError(f"memory: similarity={name!r}, wants one of {', '.join(_SIMILARITIES)}")


def affinity(
    similarity: str,
    keys: Tensor,
    queries: Tensor,
    shrinkage: Tensor,
    selection: Tensor,
    top_k: int | None = None,
) -> Tensor:
    """Weights of N memory positions for each of M positions of a new frame.

    Args:
        similarity: "dot", "l2" or "anisotropic_l2".
        keys: (..., C, N) of the memory.
        queries: (..., C, M) of the new frame.
        shrinkage: (..., 1, N), the memory's confidence; read by "anisotropic_l2" alone.
        selection: (..., C, M), the new frame's weights of channels; likewise.
        top_k: Only so many positions, the most similar, count; None is all.

    Returns:
        (..., N, M), sums over N are 1.
    """
    scores = _SIMILARITIES[similarity](keys, queries, shrinkage, selection)
    scores = scores / math.sqrt(keys.shape[-2])
    if top_k is None or top_k >= scores.shape[-2]:
        return scores.softmax(-2)
    best, places = scores.topk(top_k, dim=-2)
    return torch.zeros_like(scores).scatter(-2, places, best.softmax(-2))
