from __future__ import annotations

import pytest
import torch

from echozoo.models.losses.structure_dice import StructureDiceLoss


def test_background_does_not_count():
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, 0, 0] = 1
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = 40  # background everywhere: 15 of 16 pixels are right
    # Structure 1 is missed (loss 1), structure 2 is absent and not predicted (loss 0).
    assert StructureDiceLoss()(logits, labels) == pytest.approx(0.5, abs=1e-4)


def test_structures_count_alike_whatever_their_size():
    labels = torch.ones(1, 4, 4, dtype=torch.long)
    labels[0, 0, 0] = 2
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1] = 40  # the large structure is found, the small one missed
    large, small = 1 - 2 * 15 / (16 + 15), 1.0
    loss = StructureDiceLoss(loss_weight=2)(logits, labels)
    assert loss == pytest.approx(large + small, abs=1e-4)
