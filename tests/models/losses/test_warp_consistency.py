"""Motion and what follows it; CLAS's recorded losses are compared in tests/models/test_clas.py."""

import pytest
import torch
from mmengine.logging import MessageHub

from echozoo.errors import ConfigError
from echozoo.models.layers.flow import FlowHead, carried
from echozoo.models.losses.warp_consistency import WarpConsistency, correlation, labelled_ends
from echozoo.models.prompts import Features
from echozoo.structures import EchoDataSample

SIDE = 24


def square(column: int) -> torch.Tensor:
    """A bright square of 8 x 8 pixels (1, SIDE, SIDE)."""
    image = torch.zeros(1, SIDE, SIDE)
    image[:, 8:16, column : column + 8] = 1
    return image


def moving(frames: int = 3, labelled: tuple[int, ...] | None = None):
    """A square that moves two pixels a frame: images (T, 1, H, W) with a texture, a sample."""
    texture = torch.rand(1, SIDE, 2 * SIDE)
    images = torch.stack([square(4 + 2 * t) + 0.1 * texture[..., :SIDE] for t in range(frames)])
    sample = EchoDataSample(gt_labels=torch.cat([square(4 + 2 * t) for t in range(frames)]).byte())
    if labelled is not None:
        sample.labelled = torch.tensor([[t in labelled] for t in range(frames)])
    return images, sample


def losses(part: WarpConsistency, probabilities, images, sample):
    return part(probabilities[None], [sample], Features((images,), len(images), images))


def test_a_head_begins_without_motion():
    grids = FlowHead(2)(torch.randn(1, 3, 2, 6, 6), (SIDE, SIDE))
    image = torch.rand(2, 1, SIDE, SIDE)
    for grid in grids:
        assert grid.shape == (1, 2, SIDE, SIDE, 2)
        torch.testing.assert_close(carried(image, grid[0]), image, atol=5e-3, rtol=0)


def test_correlation_is_one_of_an_image_with_itself_of_more_contrast():
    image = torch.rand(1, 1, SIDE, SIDE)
    assert correlation(image, 2 * image) == pytest.approx(1, abs=1e-3)
    assert correlation(image, torch.rand(1, 1, SIDE, SIDE)) < 0.2


def test_motion_is_learnt_from_pictures_and_carries_labels():
    images, sample = moving(labelled=(0, 2))
    part = WarpConsistency(1, smooth=0.1, start_epoch=0)
    unmoved = sample.gt_labels[[0, 0, 0], None].float()
    before = losses(part, unmoved, images, sample)
    optimizer = torch.optim.Adam(part.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        losses(part, unmoved, images, sample)["loss_ota"].backward()
        optimizer.step()
    after = losses(part, unmoved, images, sample)
    assert after["loss_ots"] < before["loss_ots"] - 0.02  # learnt without a look at labels
    truth = losses(part, sample.gt_labels[:, None].float(), images, sample)
    assert truth["loss_sgs"] < after["loss_sgs"]


def test_the_far_ends_are_the_first_and_last_whole_labels():
    _, sample = moving(5, labelled=(1, 3))
    assert labelled_ends(sample) == (1, 3)
    assert labelled_ends(moving(5)[1]) == (0, 4)
    assert labelled_ends(moving(5, labelled=())[1]) == (0, 0)


def test_masks_between_two_labels_learn_and_the_others_do_not():
    images, sample = moving(5, labelled=(1, 3))
    probabilities = torch.rand(5, 1, SIDE, SIDE, requires_grad=True)
    part = WarpConsistency(1, start_epoch=0)
    losses(part, probabilities, images, sample)["loss_sgs"].backward()
    learnt = probabilities.grad.abs().sum((1, 2, 3)) > 0
    assert learnt.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("labelled", [(), (2,)])
def test_without_two_labels_only_pictures_teach(labelled):
    images, sample = moving(labelled=labelled)
    part = WarpConsistency(1, start_epoch=0)
    found = losses(part, torch.rand(3, 1, SIDE, SIDE), images, sample)
    assert found["loss_ota"] != 0
    assert found["loss_sgs"] == found["loss_ots"] == 0


def test_shapes_wait_for_their_epoch():
    images, sample = moving()
    part, probabilities = WarpConsistency(1, start_epoch=3), torch.rand(3, 1, SIDE, SIDE)
    hub = MessageHub.get_current_instance()
    found = {}
    for epoch in (2, 3):
        hub.update_info("epoch", epoch)
        found[epoch] = losses(part, probabilities, images, sample)
    hub.update_info("epoch", 0)
    assert found[2]["loss_sgs"] == found[2]["loss_ots"] == 0 < found[3]["loss_sgs"]
    assert found[2]["loss_ota"] == found[3]["loss_ota"]


def test_weights_below_zero_are_refused():
    with pytest.raises(ConfigError, match="wants 0 or more"):
        WarpConsistency(1, shape=-1)
