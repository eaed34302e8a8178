"""K masks that overlap as one label map, softly (arXiv 1904.00607, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_CLAMP = 16.0  # logit of 1 - 1e-7, where the published code clamps probabilities


def soft_aggregate(logits: Tensor) -> Tensor:
    r"""Let K structures and the background compete.

    The background's probability is that of no structure, :math:`\prod_k (1 - p_k)`.

    Args:
        logits: (N, K, h, w), each structure's own.

    Returns:
        Logits (N, K + 1, h, w) for a softmax, background first.
    """
    logits = logits.float().clamp(-_CLAMP, _CLAMP)
    none = F.logsigmoid(-logits).sum(1, keepdim=True)  # log of the background's probability
    # log(p / (1 - p)) of p = exp(none), where none is 0 at most.
    background = none - torch.log(-torch.expm1(none.clamp(max=-1e-7)))
    return torch.cat([background.clamp(-_CLAMP, _CLAMP), logits], 1)


def aggregated_logits(logits: Tensor) -> Tensor:
    """Each structure's logit after the competition: its sigmoid is its share of `soft_aggregate`.

    Args:
        logits: (N, K, h, w).

    Returns:
        (N, K, h, w).
    """
    log_shares = soft_aggregate(logits).log_softmax(1)  # N, K + 1, h, w
    every = range(log_shares.shape[1])
    others = [
        torch.logsumexp(log_shares[:, [i for i in every if i != k]], 1) for k in every if k > 0
    ]
    return log_shares[:, 1:] - torch.stack(others, 1)
