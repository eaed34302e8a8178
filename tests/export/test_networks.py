import pytest
import torch
from torch import nn

from echozoo.errors import ConfigError
from echozoo.export.networks import (
    Decoder,
    Encoder,
    PointEmbedding,
    Scaling,
    WholeModel,
    takes_prompts,
)
from echozoo.models.data_preprocessor import EchoDataPreprocessor
from echozoo.models.prompt_heads.manual import ManualPromptHead
from echozoo.models.prompts import Features, Prompts

CORNERS = torch.tensor([2, 3])


@pytest.fixture(params=[(8, 8), (8, 12)], ids=["nominal size", "wider"])
def head_and_embedding(request):
    head = ManualPromptHead(embed_dims=16, img_size=64, embedding_size=8).eval()
    return head, torch.rand(2, 16, *request.param)


def embed(head, embedding, points, labels):
    size = [8 * side for side in embedding.shape[-2:]]
    with torch.no_grad():
        return PointEmbedding(head.encoder, size)(points, labels)


def test_clicks_and_padding_as_the_head_embeds_them(head_and_embedding):
    head, embedding = head_and_embedding
    points = torch.rand(2, 3, 4, 2) * 64
    labels = torch.randint(-1, 2, (2, 3, 4))
    expected = head.embed(Features.of(embedding), Prompts(points=points, labels=labels))[0]
    torch.testing.assert_close(embed(head, embedding, points, labels), expected)


def test_a_box_is_two_points(head_and_embedding):
    head, embedding = head_and_embedding
    boxes = torch.rand(2, 3, 4) * 64
    expected = head.embed(Features.of(embedding), Prompts(boxes=boxes))[0]
    found = embed(head, embedding, boxes.view(2, 3, 2, 2), CORNERS.expand(2, 3, 2))
    torch.testing.assert_close(found, expected)


def test_a_box_with_clicks(head_and_embedding):
    head, embedding = head_and_embedding
    boxes, points = torch.rand(2, 3, 4) * 64, torch.rand(2, 3, 2, 2) * 64
    labels = torch.tensor([1, 0]).expand(2, 3, 2)
    expected = head.embed(
        Features.of(embedding), Prompts(points=points, labels=labels, boxes=boxes)
    )[0]
    found = embed(
        head,
        embedding,
        torch.cat([points, boxes.view(2, 3, 2, 2)], 2),
        torch.cat([labels, CORNERS.expand(2, 3, 2)], 2),
    )
    torch.testing.assert_close(found, expected)


def test_encoder_and_decoder_are_the_model(trained):
    model = trained["tra"].model
    grey = torch.rand(3, 1, 64, 64) * 255
    points, labels = torch.rand(3, 2, 1, 2) * 64, torch.ones(3, 2, 1, dtype=torch.int64)
    with torch.no_grad():
        embedding = model.encode(grey / 255, num_frames=3).embedding
        torch.testing.assert_close(Encoder(model)(grey), embedding)
        decoder = Decoder(model, (64, 64), (8, 8))
        logits, masks = decoder(embedding, points, labels, torch.tensor([0, 2]))
        expected = model.decode(embedding, points, labels, structures=[0, 2])
        torch.testing.assert_close(logits, expected)
        other = decoder(embedding, points, labels, torch.tensor([1, 2]))[0]
        assert not torch.equal(other[:, 0], logits[:, 0])
        assert torch.equal(other[:, 1], logits[:, 1])
    assert masks.shape == (3, 2, 64, 64)
    assert masks.dtype == torch.bool
    assert not torch.equal(embedding, model.encode(grey / 255, num_frames=1).embedding), "a clip"


def test_whole_model_gives_the_masks_of_predict(trained):
    model = trained["unet"].model
    grey = torch.rand(3, 1, 32, 48) * 255
    with torch.no_grad():
        logits, masks = WholeModel(model, (32, 48))(grey)
        expected = model(grey[None] / 255, mode="tensor")
    torch.testing.assert_close(logits, expected)
    assert torch.equal(masks.int().argmax(1)[masks.any(1)], expected.argmax(1)[masks.any(1)] - 1)
    assert torch.equal(masks.any(1), expected.argmax(1) > 0)


def test_kinds_of_models(trained):
    assert takes_prompts(trained["tra"].model)
    assert trained["tra"].model.sees == "clip"
    assert not takes_prompts(trained["unet"].model)
    assert trained["unet"].model.sees == "frame"
    assert not takes_prompts(trained["apg"].model)
    assert trained["apg"].model.sees == "clip"


def test_scaling_to_three_channels_and_another_preprocessor():
    model = nn.Module()
    model.data_preprocessor = EchoDataPreprocessor(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    scaled = Scaling(model)(torch.full((1, 1, 2, 2), 50.0))
    assert scaled[0, :, 0, 0].tolist() == [20.0, 7.5, 4.0]

    class MinMax(EchoDataPreprocessor):
        pass

    model.data_preprocessor = MinMax()
    with pytest.raises(ConfigError, match="found the data preprocessor MinMax, wanted Echo"):
        Scaling(model)


def test_stretching_knows_the_padding_as_the_preprocessor_does():
    model = nn.Module()
    model.data_preprocessor = EchoDataPreprocessor(minmax=True)
    clip = torch.rand(2, 1, 6, 8) * 100 + 50
    clip[..., 4:, :] = 0
    clip[1, :, :4] = 30  # a frame of one grey value
    data = {"inputs": [clip], "data_samples": [dict(valid_size=(4, 8))]}
    expected = model.data_preprocessor(data)["inputs"][0]
    found = Scaling(model)(clip, torch.tensor([4, 8]))
    torch.testing.assert_close(found, expected)
    assert found[0].max() == 1
