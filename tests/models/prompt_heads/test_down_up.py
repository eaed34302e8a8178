"""DownUpPromptHead: dense prompts of the embedding alone, of any size."""

from __future__ import annotations

import pytest
import torch
from related import build

from echozoo.models.prompt_heads.down_up import DownUpPromptHead
from echozoo.models.prompts import Features, Prompts


@torch.no_grad()
@pytest.mark.parametrize("size", [(12, 12), (9, 14)])
def test_a_dense_prompt_a_structure(size):
    head = DownUpPromptHead(2, (24, 8), embed_dims=16, img_size=96, embedding_size=12).eval()
    features = Features.of(torch.rand(3, 16, *size))
    sparse, dense, same = head.embed(features, Prompts())
    assert sparse.shape == (3, 2, 0, 16)
    assert dense.shape == (3, 2, 16, *size)
    assert same is features
    alone = head.embed(features[1:2], Prompts())[1]
    torch.testing.assert_close(dense[1:2], alone)
    assert not torch.allclose(dense[:, 0], dense[:, 1])


@torch.no_grad()
def test_takes_clicks_as_sam_does():
    model = build("auto_prompt_sam", "tiny")
    features = model.encode(torch.rand(2, 3, 96, 96), num_frames=2)
    prompts = Prompts(points=torch.full((2, 3, 1, 2), 40.0), labels=torch.ones(2, 3, 1))
    sparse, dense, _ = model.prompt_head.embed(features, prompts)
    wanted = model.prompt_head.encoder((prompts.points[0], prompts.labels[0]), None, None)
    torch.testing.assert_close(sparse[0], wanted[0])
    torch.testing.assert_close(dense[0], wanted[1])


def test_a_place_far_away_counts():
    head = DownUpPromptHead(1, (8, 8), embed_dims=8, img_size=96, embedding_size=12).eval()
    embedding = torch.rand(1, 8, 12, 12, requires_grad=True)
    dense = head.embed(Features.of(embedding), Prompts())[1]
    dense[0, 0, :, 5, 5].sum().backward()
    seen = embedding.grad.abs().sum((0, 1)) > 0
    assert seen[5, 11]  # further than the three convolutions at full size reach
    assert seen[0, 5]
