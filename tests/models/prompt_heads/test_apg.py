"""The APG against its equations; the published weights' fingerprints are in test_golden.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.decoders.sam_mask_decoder import SAMMaskDecoder
from echozoo.models.prompt_heads.apg import APG
from echozoo.models.prompt_heads.manual import ManualPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS

N, K, C, TASK, OUTPUT, H, W = 2, 3, 16, 4, 5, 6, 8
SMALL = dict(embed_dims=C, img_size=64, embedding_size=8, num_task_tokens=TASK, ffn_dims=24)
MODES = ["released", "paper"]


def build(mode: str = "released", **settings) -> APG:
    head = PROMPT_HEADS.build(dict(type="APG", mode=mode, **SMALL | settings))
    for name, parameter in head.named_parameters():
        if "norm" in name or name.endswith("bias"):  # not 1 and 0, which hide mistakes
            nn.init.normal_(parameter, 1.0, 0.5)
    return head


def inputs() -> tuple[Tensor, None, Tensor]:
    return torch.randn(N, C, H, W), None, torch.randn(OUTPUT, C)


def own_size(head: APG) -> int:
    parameters = head.named_parameters()
    return sum(p.numel() for name, p in parameters if not name.startswith("encoder."))


def test_sizes_are_the_published_ones_without_the_dead():
    with torch.device("meta"):
        head = PROMPT_HEADS.build(dict(type="APG"))
    generator, feature_adapter, dead = 8_491_776, 369_536, 1_051_648
    assert own_size(head) + dead == generator + feature_adapter
    assert sum(p.numel() for p in head.dense_prompt.parameters()) == feature_adapter
    assert sum(p.numel() for p in head.image_coupling.parameters()) == 4_206_592
    assert sum(p.numel() for p in head.token_coupling.parameters()) + dead == 4_206_592
    assert sum(p.numel() for p in head.token_proj.parameters()) == 65_792
    assert head.task_tokens.shape == (1, 50, 256)


def test_another_structure_costs_its_task_tokens_only():
    with torch.device("meta"):
        one, three = (PROMPT_HEADS.build(dict(type="APG", num_structures=k)) for k in (1, 3))
    assert own_size(three) - own_size(one) == 2 * 50 * 256


def softmax_attention(coupling: nn.Module, x: Tensor, source: Tensor) -> Tensor:
    """Equation 2."""
    q, (k, v) = coupling.attn.q.weight.T, coupling.attn.kv.weight.T.split(C, 1)
    first, _, last = coupling.mlp
    attended = torch.softmax((x @ q) @ (source @ k).T / C**0.5, -1) @ (source @ v)
    return last(torch.relu(first(attended)))


def maps(head: nn.Module, embedding: Tensor, output: Tensor) -> tuple[Tensor, ...]:
    """Sparse and dense prompts, and what is decoded."""
    sparse, dense, features = head.embed(Features.of(embedding), Prompts(), output)
    return sparse, dense, features.embedding


@torch.no_grad()
def test_paper_by_its_equations():
    head, (embedding, _, output) = build("paper", num_structures=K), inputs()
    sparse, dense, features = head.embed(Features.of(embedding), Prompts(), output)
    image = features.embedding
    assert sparse.shape == (N, K, TASK, C)
    # C of (a, b) and of (b, a), and what takes both; the image's, with the image as a.
    t1, t2 = head.token_coupling.first
    o1, o2 = head.token_coupling.second
    f1, f2 = head.image_coupling.first
    i1, i2 = head.image_coupling.second
    call = softmax_attention
    matrix = head.token_proj.weight.T
    assert head.token_proj.bias is None
    for n in range(N):
        pixels = embedding[n].flatten(1).T  # h * w, C
        for k in range(K):
            task = head.task_tokens[k]
            new_task = call(t2, call(t1, task, output), call(o1, output, task)) @ matrix + task
            new_output = call(o2, call(o1, output, task), call(t1, task, output)) @ matrix + output
            tokens = torch.cat([new_task, new_output])
            inner_pixels, inner_tokens = call(f1, pixels, tokens), call(i1, tokens, pixels)
            new_pixels = call(f2, inner_pixels, inner_tokens)
            new_tokens = call(i2, inner_tokens, inner_pixels)
            torch.testing.assert_close(sparse[n, k], new_tokens[:TASK])
            torch.testing.assert_close(image[n, k], new_pixels.T.view(C, H, W))
    torch.testing.assert_close(dense, head.dense_prompt(image.flatten(0, 1)).unflatten(0, (N, K)))


@torch.no_grad()
def test_released_step_by_step():
    head, (embedding, _, output) = build(num_heads=2, head_dims=5), inputs()
    sparse, dense, features = head.embed(Features.of(embedding), Prompts(), output)
    image = features.embedding
    assert sparse.shape == (N, 1, 1, C)
    task, other = head.task_tokens, output[None]
    first, second = head.token_coupling.first, head.token_coupling.second
    assert (len(first), len(second)) == (2, 1)
    task, other = first[0](task, other), second[0](other, task)
    task = head.token_proj(first[1](task, other)) + head.task_tokens
    tokens = torch.cat([task, output[None]], 1)  # the output tokens as they were
    for n in range(N):
        pixels, mine = embedding[n].flatten(1).T[None], tokens
        for ask, answer in zip(*head.image_coupling.children(), strict=True):
            pixels, mine = ask(pixels, mine), answer(mine, pixels)
        torch.testing.assert_close(sparse[n, 0], mine[0, :1])
        torch.testing.assert_close(image[n, 0], pixels[0].T.view(C, H, W))
    torch.testing.assert_close(dense[:, 0], head.dense_prompt(image[:, 0]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_parameter_learns(mode, depth):
    head, (embedding, _, output) = build(mode, num_structures=K, depth=depth), inputs()
    sparse, dense, features = head.embed(Features.of(embedding.requires_grad_()), Prompts(), output)
    image = features.embedding
    (sparse.square().sum() + dense.square().sum() + image.square().sum()).backward()
    for name, parameter in head.named_parameters():
        if not name.startswith("encoder."):
            assert parameter.grad is not None, name
            # Row by row for the tokens: none of them is idle.
            rows = parameter.grad.flatten(0, 1) if name == "task_tokens" else parameter.grad[None]
            assert (rows.flatten(1).abs().amax(1) > 0).all(), name
    assert embedding.grad is not None


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_structures_and_images_do_not_see_each_other(mode):
    head, (embedding, _, output) = build(mode, num_structures=K), inputs()
    together = maps(head, embedding, output)
    alone = build(mode)
    state = head.state_dict() | {"task_tokens": head.task_tokens[1:2]}
    alone.load_state_dict(state)
    for whole, part in zip(together, maps(alone, embedding[1:], output), strict=True):
        torch.testing.assert_close(whole[1:, 1:2], part)
        assert not torch.allclose(whole[:, 0], whole[:, 1])


@pytest.mark.parametrize("trains", [True, False])
def test_output_tokens_get_gradients_only_where_the_decoder_trains(trains):
    head, decoder = build(num_structures=K), SAMMaskDecoder(C, num_heads=2, mlp_dims=8)
    decoder.requires_grad_(trains)
    embedding = torch.randn(N, C, H, W)
    tokens = decoder.output_tokens()
    sparse, dense, features = head.embed(Features.of(embedding), Prompts(), tokens)
    logits, _ = decoder(features, head.dense_pe((H, W)), sparse, dense)
    assert logits.shape == (N, K, 1, 4 * H, 4 * W)
    logits.sum().backward()
    assert (decoder.mask_tokens.weight.grad is not None) is trains
    assert head.task_tokens.grad is not None


@torch.no_grad()
def test_clicks_are_embedded_as_in_samus():
    manual, head = ManualPromptHead(C, 64, 8), build()
    head.encoder.load_state_dict(manual.encoder.state_dict())
    points, labels = 64 * torch.rand(N, K, 2, 2), torch.randint(-1, 2, (N, K, 2))
    features, prompts = Features.of(torch.randn(N, C, 8, 8)), Prompts(points, labels)
    found, wanted = (one.embed(features, prompts)[:2] for one in (head, manual))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert torch.equal(head.dense_pe((6, 8)), manual.dense_pe((6, 8)))


def test_more_sparse_prompts():
    embedding, _, output = inputs()
    for head, number in (
        (build(num_sparse_prompts=3), 3),
        (build("paper", num_sparse_prompts=1), 1),
    ):
        assert maps(head, embedding, output)[0].shape == (N, 1, number, C)


def test_one_head_in_the_paper_and_eight_in_the_code():
    for mode, heads, dims in (("paper", 1, C), ("released", 8, 64)):
        attention = build(mode).image_coupling.first[0].attn
        assert attention.num_heads == heads
        assert attention.q.weight.shape == (heads * dims, C)


@torch.no_grad()
def test_mixed_precision_stays_close():
    head, (embedding, _, output) = build(), inputs()
    with torch.autocast("cpu", torch.bfloat16):
        found = maps(head, embedding, output)
    for value, wanted in zip(found, maps(head, embedding, output), strict=True):
        assert (value - wanted).std() < 0.05 * wanted.std()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "both"}, r"found mode='both', wants one of \('released', 'paper'\)"),
        ({"num_sparse_prompts": 5}, "num_sparse_prompts=5, wants .* no more .* than the 4 task"),
        ({"num_sparse_prompts": 0}, "num_sparse_prompts=0"),
        ({"num_structures": 0}, "num_structures=0"),
        ({"depth": 0}, "depth=0"),
    ],
)
def test_what_it_refuses(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(**{"mode": "released", **settings})
