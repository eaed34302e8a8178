"""Clicks of a model that knows boxes alone become the best box around them."""

from __future__ import annotations

import pytest
import torch

from echozoo.models.prompts import Features, Prompts
from echozoo.models.segmentors.clicks import decode_clicks
from echozoo.registry import MODELS

GRID, SIZE = 16, 64  # masks of 64 x 64, the input too
TARGET = (20, 12, 39, 55)


def fill(boxes: torch.Tensor) -> torch.Tensor:
    """Logits (..., 64, 64): the pixels whose centres the boxes (..., 4) hold."""
    place = torch.arange(SIZE)
    x1, y1, x2, y2 = boxes[..., None, None].unbind(-3)
    inside = (x1 <= place) & (place <= x2) & (y1 <= place[:, None]) & (place[:, None] <= y2)
    return inside.float() * 2 - 1


def iou(masks: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (masks & target).sum((-1, -2)) / (masks | target).sum((-1, -2))


class Boxes:
    """A prompt head and a decoder: the mask is the box, its quality the overlap with TARGET."""

    def __call__(self, features: Features, prompts: Prompts):
        logits = fill(prompts.boxes)
        return logits, iou(logits > 0, fill(torch.tensor(TARGET)) > 0)


def decode(*clicks: tuple[int, int, int]) -> torch.Tensor:
    clicks = torch.tensor(clicks)[None, None]  # 1, 1, P, 3
    features = Features.of(torch.zeros(1, 4, GRID, GRID))
    prompts = Prompts(clicks[..., :2], clicks[..., 2])
    logits, quality = decode_clicks(Boxes(), features, prompts, SIZE // GRID)
    assert logits.shape == (1, 1, SIZE, SIZE)
    assert quality.shape == (1, 1)
    return logits[0, 0] > 0


def test_takes_the_mask_that_the_decoder_expects_most_of():
    found = decode((30, 33, 1), (0, 0, -1))
    assert iou(found, fill(torch.tensor(TARGET)) > 0) > 0.5
    assert found[33, 30]


def test_a_mask_holds_what_was_clicked_and_not_what_was_excluded():
    assert decode((30, 33, 1))[12:56, 30].sum() > 25
    assert decode((30, 33, 1), (2, 33, 1))[33, [2, 30]].all()
    spared = decode((30, 33, 1), (30, 22, 0))
    assert spared[33, 30]
    assert not spared[22, 30]


def test_without_a_click_inside_the_mask_is_empty():
    assert not decode((30, 33, 0), (1, 1, -1)).any()


@pytest.mark.parametrize("prompts", [("boxes",), ("points",), ("points", "boxes")])
@torch.no_grad()
def test_a_segmentor_takes_clicks_this_way_only_where_it_knows_boxes_alone(prompts):
    head = dict(
        type="ManualPromptHead", embed_dims=32, img_size=SIZE, embedding_size=GRID, prompts=prompts
    )
    backbone = dict(type="TinyViT", embed_dims=(8,) * 4, depths=(1,) * 4, num_heads=(1,) * 4)
    model = MODELS.build(
        dict(
            type="PromptableSegmentor",
            backbone=backbone | dict(out_channels=32),
            prompt_head=head,
            decoder=dict(type="SAMMaskDecoder", embed_dims=32, num_heads=2, mlp_dims=32),
        )
    ).eval()
    features = model.encode(torch.rand(2, 1, SIZE, SIZE))
    points, labels = torch.rand(2, 3, 1, 2) * SIZE, torch.ones(2, 3, 1)
    found = model.decode(features, points, labels)
    assert found.shape == (2, 3, SIZE, SIZE)
    given = Prompts(points, labels)
    direct = model._decode(features, given)[0]
    by_boxes, _ = decode_clicks(model.decode, features, given, SIZE // GRID)
    torch.testing.assert_close(found, by_boxes if prompts == ("boxes",) else direct)
    assert (by_boxes - direct).abs().max() > 1e-3


@torch.no_grad()
def test_named_structures():
    head = dict(
        type="ManualPromptHead",
        embed_dims=32,
        img_size=SIZE,
        embedding_size=GRID,
        prompts=("boxes",),
        num_structures=3,
    )
    model = MODELS.build(
        dict(
            type="PromptableSegmentor",
            backbone=dict(type="TinyViT", out_channels=32),
            prompt_head=head,
            decoder=dict(type="SAMMaskDecoder", embed_dims=32, num_heads=2, mlp_dims=32),
        )
    ).eval()
    embedding = torch.randn(1, 32, GRID, GRID)
    points, labels = torch.full((1, 3, 1, 2), 30.0), torch.ones(1, 3, 1)
    every = model.decode(embedding, points, labels)
    third = model.decode(embedding, points[:, 2:], labels[:, 2:], structures=[2])
    torch.testing.assert_close(every[:, 2:], third)
    assert (every[:, 0] - every[:, 2]).abs().max() > 1e-3
