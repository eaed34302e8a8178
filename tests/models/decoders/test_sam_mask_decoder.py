"""SAMMaskDecoder equals segment_anything's, image by image and structure by structure."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import nn

from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompt_heads.manual import ManualPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import MODELS

N, K = 2, 3
SMALL = dict(embed_dims=32, num_heads=2, mlp_dims=16, iou_head_hidden=8)


def reference(embed_dims=256, num_heads=8, mlp_dims=2048, iou_head_hidden=256) -> MaskDecoder:
    transformer = TwoWayTransformer(2, embed_dims, num_heads, mlp_dims)
    decoder = MaskDecoder(
        transformer_dim=embed_dims, transformer=transformer, iou_head_hidden_dim=iou_head_hidden
    )
    for name, parameter in decoder.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return decoder


def random_prompts(kinds: set[str], size: int) -> dict[str, torch.Tensor]:
    count = 3 if "many points" in kinds else 1
    given = {}
    if kinds & {"point", "many points"}:
        given["points"] = 8 * size * torch.rand(N, K, count, 2)
        given["labels"] = torch.randint(0, 2, (N, K, count))
    if "box" in kinds:
        given["boxes"] = (8 * size * torch.rand(N, K, 2, 2).sort(2).values).flatten(2)
    if "mask" in kinds:
        given["masks"] = torch.randn(N, K, 4 * size, 4 * size)
    return given


@torch.no_grad()
def error(kinds: set[str], size: int, multimask: bool, **sizes) -> float:
    """Largest difference to segment_anything's own prompt encoder and decoder, one by one."""
    theirs = reference(**sizes)
    ours = MODELS.build(dict(type="SAMMaskDecoder", **sizes))
    ours.load_state_dict(theirs.state_dict())
    head = ManualPromptHead(sizes.get("embed_dims", 256), 8 * size, size)
    given = random_prompts(kinds, size)
    embedding = torch.randn(N, sizes.get("embed_dims", 256), size, size)
    sparse, dense, _ = head.embed(Features.of(embedding), Prompts(**given))
    masks, quality = ours(Features.of(embedding), head.dense_pe(), sparse, dense, multimask)
    assert masks.shape == (N, K, 3 if multimask else 1, 4 * size, 4 * size)
    worst = 0.0
    for n, k in ((n, k) for n in range(N) for k in range(K)):
        mine = {name: value[n, k][None] for name, value in given.items()}
        clicks = (mine["points"], mine["labels"]) if "points" in mine else None
        mask = mine["masks"][None] if "masks" in mine else None
        prompts = head.encoder(clicks, mine.get("boxes"), mask)
        pe = head.encoder.get_dense_pe()
        wanted = theirs(embedding[n, None], pe, *prompts, multimask_output=multimask)
        pairs = zip((masks[n, k], quality[n, k]), wanted, strict=True)
        worst = max([worst, *((found - want[0]).abs().max().item() for found, want in pairs)])
    return worst


KINDS = [
    {"point"},
    {"many points"},
    {"box"},
    {"point", "box"},
    {"mask"},
    {"mask", "point"},
]


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: " and ".join(sorted(kinds)))
def test_equals_segment_anything(kinds, multimask):
    assert error(kinds, 4, multimask, **SMALL) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: " and ".join(sorted(kinds)))
def test_real_size_equals_segment_anything(kinds, multimask, size):
    assert error(kinds, size, multimask) < 1e-4


def test_an_embedding_for_each_structure():
    decoder = SAMMaskDecoder(**SMALL)
    embedding, dense = torch.randn(N, K, 32, 4, 4), torch.randn(N, K, 32, 4, 4)
    sparse, pe = torch.randn(N, K, 2, 32), torch.randn(1, 32, 4, 4)
    together, quality = decoder(Features.of(embedding), pe, sparse, dense)
    for k in range(K):
        alone = decoder(Features.of(embedding[:, k]), pe, sparse[:, k, None], dense[:, k, None])
        torch.testing.assert_close(together[:, k, None], alone[0])
        torch.testing.assert_close(quality[:, k, None], alone[1])


def test_only_the_asked_masks_cost_gradients():
    decoder = SAMMaskDecoder(**SMALL)
    inputs = Features.of(torch.randn(N, 32, 4, 4)), torch.randn(1, 32, 4, 4)
    masks, _ = decoder(*inputs, torch.randn(N, K, 2, 32), torch.randn(N, K, 32, 4, 4))
    masks.sum().backward()
    used = [mlp.layers[0].weight.grad is not None for mlp in decoder.output_hypernetworks_mlps]
    assert used == [True, False, False, False]


def test_published_size():
    assert sum(parameter.numel() for parameter in SAMMaskDecoder().parameters()) == 4_058_340


def test_output_tokens_are_quality_then_masks():
    decoder = MODELS.build(dict(type="SAMMaskDecoder", **SMALL))
    tokens = decoder.output_tokens()
    assert tokens.shape == (5, 32)
    assert torch.equal(tokens[0], decoder.iou_token.weight[0])
    assert torch.equal(tokens[1:], decoder.mask_tokens.weight)
    assert not decoder.requires_grad_(False).output_tokens().requires_grad
