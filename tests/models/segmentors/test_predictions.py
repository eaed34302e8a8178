from __future__ import annotations

import torch

from echozoo.models.segmentors.predictions import (
    attach_label_map,
    attach_structure_masks,
    to_native,
)
from echozoo.structures import EchoDataSample


def sample(input_size=(8, 8), valid_size=(8, 8), native_size=(8, 8)) -> EchoDataSample:
    sizes = {"input_size": input_size, "valid_size": valid_size, "native_size": native_size}
    return EchoDataSample(metainfo=sizes)


def test_padding_is_cut_off_before_resizing():
    logits = torch.full((1, 1, 8, 8), -1.0)
    logits[..., :4, :] = 1  # the upper half is image, the rest padding
    native = to_native(logits, sample(valid_size=(4, 8), native_size=(20, 40)))
    torch.testing.assert_close(native, torch.ones(1, 1, 20, 40))


def test_low_resolution_logits_pass_through_the_input_size():
    # On the input's grid of 8 rows the valid 6 end between two of the 4 coarse rows.
    logits = torch.arange(4.0).view(1, 1, 4, 1).expand(1, 1, 4, 4)
    native = to_native(logits, sample(valid_size=(6, 8), native_size=(6, 8)))
    on_input = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25])
    torch.testing.assert_close(native[0, 0, :, 0], on_input)


def test_overlapping_structures_go_to_the_higher_logit():
    logits = torch.full((1, 2, 8, 8), -1.0)
    logits[0, 0, :4] = 1
    logits[0, 1, 2:6] = 2
    result = sample()
    attach_structure_masks(result, logits)
    assert result.pred_masks[0, 0, :, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert result.pred_masks[0, 1, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert result.pred_labels[0, :, 0].tolist() == [1, 1, 2, 2, 2, 2, 0, 0]
    assert result.pred_labels.dtype == torch.uint8


def test_classes_become_masks_without_the_background():
    classes = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]).view(1, 8, 1).expand(1, 8, 8)
    logits = torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float()  # (1, 3, 8, 8)
    result = sample()
    attach_label_map(result, logits)
    torch.testing.assert_close(result.pred_labels, classes.to(torch.uint8))
    assert result.pred_masks.shape == (1, 2, 8, 8)
    assert result.pred_masks[0, 1, :, 0].tolist() == [0, 0, 1, 0, 0, 1, 0, 0]
