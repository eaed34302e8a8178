"""How many clicks a structure takes: a person is simulated who clicks where the mask is wrong."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from echozoo.apis.model import Embedding, LoadedModel
from echozoo.apis.prompts import decode_frame, make_prompt
from echozoo.evaluation.functional.overlap import dice
from echozoo.models.segmentors.wrong_points import next_click

NEVER = -1
"""What `clicks_needed` says of a structure that no click brought there."""


def correct(
    loaded: LoadedModel,
    embedding: Embedding,
    structure: str,
    reference: np.ndarray,
    most: int = 20,
    goal: float = 1.0,
) -> list[float]:
    """Click on one structure of one frame until it is right.

    Each click lies in the largest wrong region, what is missing or what is too much, at the pixel
    farthest from that region's border (Sofiiuk et al., arXiv 2102.06583); all clicks so far are
    given at once.

    Args:
        loaded: A model that understands points.
        embedding: Of one frame.
        structure: Short name.
        reference: (H0, W0) bool, not empty.
        most: Clicks at most.
        goal: Dice at which the person is content.

    Returns:
        Dice after no click (0 for a model that needs one), after the first, the second, …; it ends
        with the goal or after ``most`` clicks. Where nothing is found Dice is 0.
    """
    mask = np.zeros_like(reference)
    if loaded.automatic:
        mask = _drawn(loaded, loaded.decode(embedding, structures=[structure]), embedding)
    points, labels, reached = [], [], [_dice(mask, reference)]
    while reached[-1] < goal and len(points) < most and (mask != reference).any():
        point, label = next_click(mask, reference)
        points.append(point)
        labels.append(label)
        prompt = {structure: make_prompt(points, labels)}
        mask = decode_frame(loaded, embedding, prompt)[structure].cpu().numpy() > 0
        reached.append(_dice(mask, reference))
    return reached


def clicks_needed(reached: list[float], goal: float) -> int:
    """How many clicks brought Dice to a goal, `NEVER` where none did."""
    return next((count for count, value in enumerate(reached) if value >= goal), NEVER)


def _drawn(loaded: LoadedModel, logits: Tensor, embedding: Embedding) -> np.ndarray:
    return loaded.to_native(logits, embedding.meta)[0, 0].cpu().numpy() > 0  # (1, 1, H0, W0)


def _dice(mask: np.ndarray, reference: np.ndarray) -> float:
    return dice(mask, reference) if mask.any() else 0.0
