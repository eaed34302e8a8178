"""Points from coarse masks: as recorded of AdapterShadow's code, and as SAM wants them."""

from __future__ import annotations

import pytest
import torch
from related import Recording, build

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.coarse_points import grid_points, top_points
from echozoo.models.prompts import Prompts


def test_as_recorded(shared):
    recording = Recording(shared, "adaptershadow_points")
    logits = recording.noise("adaptershadow.mask", 2, 1, 48, 64)
    found = dict(
        topk=top_points(logits, 5, negatives=True),
        topk3=top_points(logits, 3, negatives=False),
        grid4=grid_points(logits, 4, 2.5),
        grid5=grid_points(logits, 5, 2.5),
    )
    for name, (points, labels) in found.items():
        assert points[:, 0].tolist() == recording.arrays[f"{name}_row_col"].tolist()
        assert labels[:, 0].tolist() == recording.arrays[f"{name}_labels"].tolist()


@pytest.fixture(scope="module")
def model():
    return build("sac", "tiny")


def test_points_are_x_and_y(model):
    head = model.prompt_head
    logits = torch.zeros(1, 1, 8, 8)
    logits[..., 1, 6], logits[..., 5, 2] = 9, -9  # row 1, column 6
    head.sampler, head.num_points = "topk", 1
    points, labels = head.sample(logits)
    assert points.tolist() == [[[[6, 1], [2, 5]]]]
    assert labels.tolist() == [[[1, 0]]]
    head.transposed = True
    assert head.sample(logits)[0].tolist() == [[[[1, 6], [5, 2]]]]


def test_the_coarse_network_learns_from_its_own_loss(model):
    head = build("sac", "tiny").prompt_head.train()
    features = model.encode(torch.rand(2, 3, 96, 96))
    _, _, features = head.embed(features, Prompts())
    masks, labelled = torch.ones(2, 3, 96, 96), torch.ones(2, 3, dtype=torch.bool)
    losses = head.loss(features, masks, labelled)
    assert set(losses) == {"coarse_loss_dice", "coarse_loss_ce"}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.coarse["decode_head"].parameters())
    nothing = head.loss(features, masks, ~labelled)
    assert sum(nothing.values()) == 0


def test_masks_do_not_depend_on_who_else_is_in_the_batch(model):
    images = torch.rand(2, 3, 96, 96)
    both, _ = model.decode(model.encode(images), Prompts())
    alone, _ = model.decode(model.encode(images[1:]), Prompts())
    torch.testing.assert_close(both[1:], alone, rtol=1e-3, atol=1e-4)


def test_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match="sampler='best'"):
        build("sac", "tiny", **{"prompt_head.sampler": "best"})
    with pytest.raises(ConfigError, match="num_classes=7.*wants 3.*or 4"):
        build("sac", "tiny", **{"prompt_head.coarse.decode_head.num_classes": 7})
    with pytest.raises(ConfigError, match="found a coarse network with a background"):
        build("sac", "tiny", **{"prompt_head.coarse.decode_head.num_classes": 4})
