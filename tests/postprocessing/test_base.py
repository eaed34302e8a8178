from __future__ import annotations

import numpy as np
import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.models.segmentors.predictions import attach_label_map, attach_structure_masks
from echozoo.postprocessing import LogitStep, MaskStep, Postprocessing
from echozoo.structures import EchoDataSample

ALL = [
    dict(type="LargestComponent"),
    dict(type="TemporalGaussian", sigma_frames=1.0),
    dict(type="FillHoles"),
    dict(type="CloseGap"),
]


def sample(frames: int) -> EchoDataSample:
    return EchoDataSample(
        metainfo=dict(
            frames=tuple(range(frames)),
            structures=("lv", "myo", "la"),
            spacing=(0.5, 0.4),
            input_size=(16, 16),
            valid_size=(12, 16),
            native_size=(30, 40),
        )
    )


def test_steps_run_by_kind_in_the_order_of_the_config():
    chain = Postprocessing(ALL)
    assert [type(step).__name__ for step in chain.logit_steps] == ["TemporalGaussian"]
    assert [type(step).__name__ for step in chain.mask_steps] == [
        "LargestComponent",
        "FillHoles",
        "CloseGap",
    ]


def test_a_step_of_no_kind_is_refused():
    with pytest.raises(ConfigError, match="function is neither"):
        Postprocessing([lambda masks: masks])


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize(
    ("attach", "channels"), [(attach_structure_masks, 3), (attach_label_map, 4)]
)
def test_masks_and_label_map_agree_afterwards(attach, channels, frames):
    logits = torch.randn(frames, channels, 8, 8)
    result = sample(frames)
    attach(result, logits, Postprocessing(ALL))
    masks, labels = result.pred_masks, result.pred_labels
    assert masks.shape == (frames, 3, 30, 40)
    assert labels.dtype == torch.uint8
    for k in range(3):
        assert masks[:, k][labels == k + 1].all()
    assert (masks.sum(dim=1) == (labels > 0)).all()


@pytest.mark.parametrize(
    ("attach", "channels"), [(attach_structure_masks, 3), (attach_label_map, 4)]
)
def test_each_kind_reaches_the_predictions(attach, channels):
    logits = torch.randn(5, channels, 8, 8)
    plain, smooth, clean = sample(5), sample(5), sample(5)
    attach(plain, logits)
    attach(smooth, logits, Postprocessing(ALL[1:2]))
    attach(clean, logits, Postprocessing(ALL[:1]))
    # Smoothing before the resizing is smoothing after it.
    weights = torch.from_numpy(Postprocessing(ALL[1:2]).logit_steps[0].weights(range(5))).float()
    expected = sample(5)
    attach(expected, torch.tensordot(weights, logits, dims=1))
    torch.testing.assert_close(smooth.pred_masks, expected.pred_masks)
    assert (smooth.pred_masks != plain.pred_masks).any()
    assert (clean.pred_masks <= plain.pred_masks).all()
    assert (clean.pred_masks != plain.pred_masks).any()


def test_the_label_map_is_in_one_piece_though_masks_overlap():
    logits = -torch.ones(1, 3, 16, 16)
    logits[0, 0, :, 2:14] = 1.0
    logits[0, 1, 6:10] = 2.0  # across the first: its label has a piece above and a smaller below
    result = sample(1)
    attach_structure_masks(result, logits)
    assert (result.pred_masks[:, 0] & result.pred_masks[:, 1]).any()
    assert (result.pred_labels[0, -3:] == 1).any()
    attach_structure_masks(result, logits, Postprocessing(ALL[:1]))
    assert (result.pred_labels[0, :8] == 1).any()
    assert (result.pred_labels[0, -8:] != 1).all()


def test_a_step_of_ones_own_needs_no_registration():
    class Nothing(MaskStep):
        def __call__(self, masks, structures, spacing):
            assert (structures, spacing) == (("lv", "myo", "la"), (0.5, 0.4))
            return np.zeros_like(masks)

    class Minus(LogitStep):
        def __call__(self, logits, frames):
            return -logits

    result = sample(1)
    attach_structure_masks(result, -torch.ones(1, 3, 8, 8), Postprocessing([Minus()]))
    assert result.pred_masks.all()
    attach_structure_masks(result, torch.ones(1, 3, 8, 8), Postprocessing([Nothing()]))
    assert not result.pred_masks.any()
    assert not result.pred_labels.any()
