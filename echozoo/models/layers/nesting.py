"""Structures that are parts of wholes: which, and what their masks are inside these."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from echozoo.errors import ConfigError


def check_wholes(
    wholes: Sequence[Sequence[int]], structures: int | None = None
) -> tuple[tuple[int, ...], ...]:
    """Check wholes, each two structures or more, that no other whole has.

    Args:
        wholes: The structures of each whole, from 0.
        structures: How many there are; None does not ask.

    Raises:
        ConfigError: They are not such.
    """
    found = tuple(map(tuple, wholes))
    taken = [part for parts in found for part in parts]
    few = any(len(parts) < 2 for parts in found)
    absent = any(part < 0 or (structures is not None and part >= structures) for part in taken)
    if few or absent or len(set(taken)) < len(taken):
        there = "the structures" if structures is None else f"the {structures} structures"
        raise ConfigError(
            f"wholes: found {found}, wants two or more of {there} (from 0) in each, and none of "
            "them twice"
        )
    return found


def nested(parts: Sequence[Tensor], whole: Tensor) -> list[Tensor]:
    """Logits of the parts of a whole, given those of the whole and of each part inside it.

    Args:
        parts: Two or more logits of one shape; what counts is what they differ by.
        whole: Logits of the same shape.

    Returns:
        For each part the logit of ``sigmoid(whole) * softmax(parts)``.
    """
    shares = torch.stack(tuple(parts)).log_softmax(0)
    inside, outside = F.logsigmoid(whole), F.logsigmoid(-whole)
    logits = []
    for k in range(len(shares)):
        # The log of 1 - p without taking p from 1: outside, or inside in another part.
        others = torch.cat([shares[:k], shares[k + 1 :]]).logsumexp(0)
        logits.append(inside + shares[k] - torch.logaddexp(outside, inside + others))
    return logits
