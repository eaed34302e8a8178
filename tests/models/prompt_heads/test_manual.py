"""ManualPromptHead equals segment_anything's prompt encoder, structure by structure."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from echozoo.errors import ConfigError
from echozoo.models.prompt_heads.manual import ManualPromptHead
from echozoo.models.prompts import Features, Prompts
from echozoo.registry import PROMPT_HEADS
from echozoo.structures import EchoDataSample

N, K, C, GRID, IMAGE = 2, 3, 8, 4, 64
KINDS = [
    ("points",),
    ("boxes",),
    ("masks",),
    ("points", "boxes"),
    ("points", "masks"),
    ("points", "boxes", "masks"),
]


def head(prompts=("points",)) -> ManualPromptHead:
    cfg = dict(type="ManualPromptHead", embed_dims=C, img_size=IMAGE, embedding_size=GRID)
    return PROMPT_HEADS.build(dict(cfg, prompts=prompts))


def prompts(num_points: int = 2) -> dict[str, torch.Tensor]:
    corners = IMAGE * torch.rand(N, K, 2, 2).sort(2).values
    return dict(
        points=IMAGE * torch.rand(N, K, num_points, 2),
        labels=torch.randint(-1, 2, (N, K, num_points)),
        boxes=corners.flatten(2),
        masks=torch.randn(N, K, 4 * GRID, 4 * GRID),
    )


def select(given: dict[str, torch.Tensor], kinds: tuple[str, ...]) -> dict[str, torch.Tensor]:
    names = {*kinds, "labels"} if "points" in kinds else set(kinds)
    return {name: value for name, value in given.items() if name in names}


def one_by_one(encoder, given: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = []
    for n in range(N):
        for k in range(K):
            mine = {name: value[n, k][None] for name, value in given.items()}
            clicks = (mine["points"], mine["labels"]) if "points" in mine else None
            masks = mine["masks"][None] if "masks" in mine else None
            pairs.append(encoder(clicks, mine.get("boxes"), masks))
    return tuple(torch.cat(parts).unflatten(0, (N, K)) for parts in zip(*pairs, strict=True))


@pytest.mark.parametrize("kinds", KINDS)
def test_equals_segment_anything(kinds):
    model, given = head(), select(prompts(), kinds)
    embedding = torch.randn(N, C, GRID, GRID)
    sparse, dense, same = model.embed(Features.of(embedding), Prompts(**given))
    wanted_sparse, wanted_dense = one_by_one(model.encoder, given)
    torch.testing.assert_close(sparse, wanted_sparse)
    torch.testing.assert_close(dense, wanted_dense)
    assert same.embedding is embedding


def test_masks_are_embedded_as_probabilities_where_a_system_wants_that():
    cfg = dict(type="ManualPromptHead", embed_dims=C, img_size=IMAGE, embedding_size=GRID)
    model = PROMPT_HEADS.build(dict(cfg, prompts=("points", "masks"), mask_probabilities=True))
    given = select(prompts(), ("points", "masks"))
    sparse, dense, _ = model.embed(Features.of(torch.zeros(N, C, GRID, GRID)), Prompts(**given))
    probabilities = given | {"masks": 1 / (1 + torch.exp(-given["masks"]))}
    wanted_sparse, wanted_dense = one_by_one(model.encoder, probabilities)
    torch.testing.assert_close(sparse, wanted_sparse)
    torch.testing.assert_close(dense, wanted_dense)
    clicks = select(given, ("points",))  # without a mask nothing changes
    _, dense, _ = model.embed(Features.of(torch.zeros(N, C, GRID, GRID)), Prompts(**clicks))
    torch.testing.assert_close(dense, one_by_one(model.encoder, clicks)[1])


def test_one_click_makes_two_tokens():
    model, given = head(), select(prompts(1), ("points",))
    sparse, dense, _ = model.embed(Features.of(torch.zeros(N, C, GRID, GRID)), Prompts(**given))
    assert sparse.shape == (N, K, 2, C)
    assert dense.shape == (N, K, C, GRID, GRID)


def test_labels_have_meanings():
    model = head()
    points = torch.full((1, 3, 1, 2), 20.0)
    labels = torch.tensor([1, 0, -1]).view(1, 3, 1)
    sparse, *_ = model.embed(Features.of(torch.zeros(1, C, GRID, GRID)), Prompts(points, labels))
    positive, negative, padding = sparse[0, :, 0]
    weights = [embedding.weight[0] for embedding in model.encoder.point_embeddings]
    torch.testing.assert_close(positive - weights[1], negative - weights[0])
    torch.testing.assert_close(padding, model.encoder.not_a_point_embed.weight[0])


def test_mixed_precision_does_not_move_prompts():
    model, given = head(), prompts()
    embedding = torch.zeros(N, C, GRID, GRID)
    wanted = *model.embed(Features.of(embedding), Prompts(**given))[:2], model.dense_pe()
    with torch.autocast("cpu", torch.bfloat16):
        found = *model.embed(Features.of(embedding), Prompts(**given))[:2], model.dense_pe()
    for value, want in zip(found, wanted, strict=True):
        assert torch.equal(value, want)


def test_gradients_reach_the_embeddings():
    model = head()
    sparse, dense, _ = model.embed(Features.of(torch.zeros(N, C, GRID, GRID)), Prompts(**prompts()))
    (sparse.square().sum() + dense.square().sum()).backward()
    assert model.encoder.point_embeddings[2].weight.grad.abs().sum() > 0
    assert model.encoder.mask_downscaling[0].weight.grad.abs().sum() > 0


def test_prompts_come_from_the_samples_in_their_order():
    given = prompts()
    samples = [
        EchoDataSample(
            points=given["points"][n, None],
            point_labels=given["labels"][n, None],
            boxes=given["boxes"][n, None],
            mask_prompts=given["masks"][n, None],
        )
        for n in range(N)
    ]
    found = Prompts.of_samples(samples, head(("points", "boxes", "masks")).kinds)
    for name, wanted in given.items():
        assert torch.equal(getattr(found, name), wanted)


def test_another_input_size_keeps_pixels_of_that_input():
    model, given = head(), select(prompts(), ("points", "boxes"))
    sparse, dense, _ = model.embed(
        Features.of(torch.zeros(N, C, 2 * GRID, 3 * GRID)), Prompts(**given)
    )
    larger = ManualPromptHead(C, IMAGE, GRID).encoder
    larger.load_state_dict(model.encoder.state_dict())
    larger.input_image_size = (2 * IMAGE, 3 * IMAGE)
    larger.image_embedding_size = (2 * GRID, 3 * GRID)
    wanted_sparse, wanted_dense = one_by_one(larger, given)
    torch.testing.assert_close(sparse, wanted_sparse, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dense, wanted_dense)
    torch.testing.assert_close(model.dense_pe((8, 12)), larger.get_dense_pe())
    torch.testing.assert_close(model.dense_pe(), model.encoder.get_dense_pe())


def test_published_size():
    assert sum(parameter.numel() for parameter in ManualPromptHead().parameters()) == 6_220


def test_errors_are_one_line():
    features = Features.of(torch.zeros(1, C, GRID, GRID))
    with pytest.raises(ConfigError, match=r"prompts=\('clicks',\), wants some of"):
        head(("clicks",))
    sample = EchoDataSample(metainfo=dict(sequence="patient0001_4CH"))
    with pytest.raises(ConfigError, match="no 'boxes' in the sample of patient0001_4CH"):
        Prompts.of_samples([sample], head(("boxes",)).kinds)
    with pytest.raises(ConfigError, match="found no samples"):
        Prompts.of_samples(None, head().kinds)
    with pytest.raises(ConfigError, match="found none, wants points"):
        head().embed(features, Prompts())
    with pytest.raises(ConfigError, match=r"mask prompts of \(9, 9\), wants \(16, 16\)"):
        head().embed(features, Prompts(masks=torch.zeros(1, 1, 9, 9)))


def test_named_structures_get_a_token_each():
    head = ManualPromptHead(embed_dims=16, img_size=64, embedding_size=8, num_structures=3)
    plain = ManualPromptHead(embed_dims=16, img_size=64, embedding_size=8)
    plain.encoder = head.encoder
    features = Features.of(torch.rand(2, 16, 8, 8))
    points, labels = torch.rand(2, 3, 1, 2) * 64, torch.ones(2, 3, 1)
    sparse, _, _ = head.embed(features, Prompts(points, labels))
    torch.testing.assert_close(sparse[:, :, :2], plain.embed(features, Prompts(points, labels))[0])
    torch.testing.assert_close(sparse[:, :, 2], head.names.weight.expand(2, -1, -1))
    second = Prompts(points[:, 1:2], labels[:, 1:2], structures=(1,))
    torch.testing.assert_close(head.embed(features, second)[0], sparse[:, 1:2])
    with pytest.raises(ConfigError, match="prompts for 1 structures, wants 3"):
        head.embed(features, replace(second, structures=None))
