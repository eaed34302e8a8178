"""LearntPromptHead: what is added to SAM's prompt encoder, and what stands for no prompt."""

from __future__ import annotations

import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.painting import paint_clicks
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS

N, K, C, GRID, IMAGE = 2, 3, 8, 4, 64


@pytest.fixture
def head() -> torch.nn.Module:
    cfg = dict(type="LearntPromptHead", embed_dims=C, img_size=IMAGE, embedding_size=GRID)
    return PROMPT_HEADS.build(dict(cfg, num_structures=K, num_tokens=2)).eval()


@pytest.fixture
def features() -> Features:
    coarse = torch.randn(N, K, 4 * GRID, 4 * GRID)
    return Features((torch.randn(N, C, GRID, GRID),), extra={"coarse": coarse})


@torch.no_grad()
def test_without_prompts_there_are_padding_and_tokens(head, features):
    sparse, dense, _ = head.embed(features, Prompts())
    padding = head.encoder.not_a_point_embed.weight
    assert sparse.shape == (N, K, 3 + 2, C)
    assert (sparse[:, :, :3] == padding).all()
    assert (sparse[:, :, 3:] == head.tokens).all()
    _, wanted = head.encoder(None, None, features.extra["coarse"].flatten(0, 1)[:, None])
    torch.testing.assert_close(dense, wanted.unflatten(0, (N, K)))
    dense = head.embed(Features(features.maps), Prompts())[1]
    assert (dense == head.encoder.no_mask_embed.weight[..., None, None]).all()


@torch.no_grad()
def test_given_prompts_are_those_of_sam(head, features):
    points = IMAGE * torch.rand(N, 1, 2, 2)
    labels = torch.tensor([1, 0]).expand(N, 1, 2)
    boxes = torch.tensor([4.0, 8, 40, 50]).expand(N, 1, 4).clone()
    boxes[1] = 0  # padding
    given = Prompts(points=points, labels=labels, boxes=boxes, structures=(1,))
    sparse, dense, _ = head.embed(features, given)
    # A pixel of the masks is four of the image.
    places = (points[:, 0] + 0.5) / 4 - 0.5
    coarse = paint_clicks(features.extra["coarse"][:, 1], places, labels[:, 0], 10.0)[:, None]
    assert not torch.equal(coarse, features.extra["coarse"][:, 1:2])
    wanted, masks = head.encoder((points[:, 0], labels[:, 0]), boxes[:, 0], coarse)
    wanted[1, 2:] = head.encoder.not_a_point_embed.weight
    torch.testing.assert_close(sparse[:, 0, :4], wanted)
    assert (sparse[:, 0, 4:] == head.tokens[1]).all()
    torch.testing.assert_close(dense[:, 0], masks)


@torch.no_grad()
def test_a_given_mask_takes_the_place_of_the_coarse_one(head, features):
    masks = torch.randn(N, K, 4 * GRID, 4 * GRID)
    dense = head.embed(features, Prompts(masks=masks))[1]
    _, wanted = head.encoder(None, None, masks.flatten(0, 1)[:, None])
    torch.testing.assert_close(dense, wanted.unflatten(0, (N, K)))


def test_the_coarse_network_knows_as_many_structures():
    cfg = dict(type="LearntPromptHead", coarse=dict(type="ZooNetwork", name="efficient_unet"))
    with pytest.raises(ConfigError, match="num_structures=2, wants 3"):
        PROMPT_HEADS.build(dict(cfg, num_structures=2))
