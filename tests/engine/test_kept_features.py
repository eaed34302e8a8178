"""Kept features are those that the encoder would make, and only of an encoder that is frozen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from feature_models import (
    CHANNELS,
    GRID,
    SAMUS,
    SIZE,
    VIT,
    attach,
    build,
    encoded,
    entries,
    without_cache,
)
from torch import Tensor, nn

from echozoo.engine.kept_features import refuse_unless_frozen
from echozoo.errors import ConfigError
from echozoo.models.backbones.sam_vit import SAMViT
from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.registry import MODELS


@pytest.fixture
def model() -> PromptableSegmentor:
    return build(VIT)


def test_reads_what_it_has_encoded(model, tmp_path):
    images, calls = torch.rand(3, 1, SIZE, SIZE), encoded(model)
    cache = attach(model, tmp_path / "features")
    first = model.encode(images, num_frames=3).embedding
    with torch.no_grad():
        again = model.eval().encode(images, num_frames=3).embedding
    assert calls == [(3, 1)]
    assert first.shape == (3, CHANNELS, GRID, GRID)
    assert torch.equal(first, without_cache(model, images))
    assert torch.equal(first, again)
    assert (cache.num_read, cache.num_computed) == (3, 3)
    assert [file.suffix for file in entries(tmp_path / "features")] == [".safetensors"] * 3


def test_another_run_reads_them_too(model, tmp_path):
    images = torch.rand(2, 1, SIZE, SIZE)
    attach(model, tmp_path)
    wanted = model.encode(images).embedding
    other = build(VIT)
    attach(other, tmp_path)
    calls = encoded(other)
    assert torch.equal(other.encode(images).embedding, wanted)
    assert calls == []


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_keeps_the_order_in_memory(model, tmp_path, order):
    def encode(images: Tensor, num_frames: int) -> tuple[Tensor, ...]:
        (embedding,) = model._encode(images, num_frames)
        return (embedding.contiguous(memory_format=order),)

    cache, images = attach(model, tmp_path), torch.rand(3, 1, SIZE, SIZE)
    (first,), (again,) = (cache(encode, images, 1) for _ in range(2))
    assert cache.num_read == 3
    assert torch.equal(first, again)
    assert first.stride() == again.stride() == encode(images, 1)[0].stride()


def test_encodes_what_is_missing_in_one_call(model, tmp_path):
    images, calls = torch.rand(5, 1, SIZE, SIZE), encoded(model)
    attach(model, tmp_path)
    model.encode(images[[1, 3]])
    found = model.encode(images[[4, 3, 2, 1, 0]]).embedding
    assert [number for number, _ in calls] == [2, 3]
    torch.testing.assert_close(found, without_cache(model, images[[4, 3, 2, 1, 0]]))


@pytest.mark.parametrize("temporal", ["TRA", "STAdapter", "TempAtt"])
def test_frames_that_see_each_other_are_kept_as_clips(tmp_path, temporal):
    settings = dict(num_heads=2) if temporal == "TempAtt" else {}
    model = build(dict(SAMUS, temporal=dict(type=temporal, **settings)))
    images, calls = torch.rand(6, 1, SIZE, SIZE), encoded(model)
    attach(model, tmp_path)
    first = model.encode(images, num_frames=3).embedding
    assert torch.equal(model.encode(images, num_frames=3).embedding, first)
    assert (calls, len(entries(tmp_path))) == ([(6, 3)], 2)
    # One clip of the two is another one, though two of its frames are the same.
    changed = torch.cat([images[:3], images[3:5], images[:1]])
    calls.clear()
    found = model.encode(changed, num_frames=3).embedding
    assert calls == [(3, 3)]
    torch.testing.assert_close(found, without_cache(model, changed, 3))
    assert not torch.allclose(found[4], first[4])
    # The same frames one by one.
    calls.clear()
    found = model.encode(images).embedding
    assert calls == [(6, 1)]
    torch.testing.assert_close(found, without_cache(model, images, 1))


def test_frames_that_do_not_are_kept_one_by_one(tmp_path):
    model = build(SAMUS)
    images, calls = torch.rand(4, 1, SIZE, SIZE), encoded(model)
    attach(model, tmp_path)
    model.encode(images[:2], num_frames=2)
    model.encode(images[1:3], num_frames=2)
    model.encode(images[:3], num_frames=3)
    assert [number for number, _ in calls] == [2, 1]


def test_of_a_backbone_of_ones_own_that_sees_clips_whole_clips_are_kept(tmp_path):
    class Neighbours(SAMViT):
        sees = "clip"

        def forward(self, images: Tensor, num_frames: int = 1) -> Tensor:
            clips = super().forward(images).unflatten(0, (-1, num_frames))
            return (clips + clips.flip(1)).flatten(0, 1)

    MODELS.register_module(module=Neighbours, force=True)
    model = build(dict(VIT, type="Neighbours"))
    images = torch.rand(3, 1, SIZE, SIZE)
    attach(model, tmp_path)
    for num_frames, chosen in ((3, [0, 1, 2]), (1, [0]), (3, [1, 0, 2])):
        found = model.encode(images[chosen], num_frames).embedding
        torch.testing.assert_close(found, without_cache(model, images[chosen], num_frames))


def changed_by_loading(model: PromptableSegmentor) -> None:
    model.load_state_dict({name: weight + 1 for name, weight in model.state_dict().items()})


def changed_in_place(model: PromptableSegmentor) -> None:
    with torch.no_grad():
        model.backbone.pos_embed[0, 0, 0, 0] += 1


def changed_parameter(model: PromptableSegmentor) -> None:
    new = torch.randn_like(model.backbone.pos_embed)
    model.backbone.pos_embed = nn.Parameter(new, requires_grad=False)


@pytest.mark.parametrize("change", [changed_by_loading, changed_in_place, changed_parameter])
def test_changed_weights_never_hit(model, tmp_path, change):
    images, calls = torch.rand(2, 1, SIZE, SIZE), encoded(model)
    attach(model, tmp_path)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    old = model.encode(images).embedding
    change(model)
    new = model.encode(images).embedding
    assert torch.equal(new, without_cache(model, images))
    assert not torch.allclose(new, old)
    calls.clear()
    model.load_state_dict(before)
    assert torch.equal(model.encode(images).embedding, old)
    assert calls == [], "the old weights find the old entries"


def test_running_statistics_are_weights(tmp_path):
    model = build(dict(SAMUS, temporal=dict(type="TRA")))
    images = torch.rand(2, 1, SIZE, SIZE)
    attach(model, tmp_path)
    old = model.encode(images, num_frames=2).embedding
    model.backbone.temporal["1"].norm.running_mean += 1
    new = model.encode(images, num_frames=2).embedding
    assert torch.equal(new, without_cache(model, images, 2))
    assert not torch.allclose(new, old)


def test_a_neck_is_part_of_the_encoder(tmp_path):
    frozen = ("backbone.*", "neck.*")
    model = build(SAMUS, neck=dict(type="LIA", in_channels=CHANNELS), frozen=frozen)
    images = torch.rand(2, 1, SIZE, SIZE)
    attach(model, tmp_path)
    old = model.encode(images).embedding
    changed_by_loading(model)
    new = model.encode(images).embedding
    torch.testing.assert_close(new, without_cache(model, images))
    assert not torch.allclose(new, old)


@pytest.mark.parametrize("size", [(SIZE, 2 * SIZE), (2 * SIZE, SIZE), (2 * SIZE, 2 * SIZE)])
def test_another_size_never_hits(model, tmp_path, size):
    attach(model, tmp_path)
    model.encode(torch.zeros(1, 1, SIZE, SIZE))
    images = torch.zeros(1, 1, *size)
    assert torch.equal(model.encode(images).embedding, without_cache(model, images))


def test_neither_do_the_same_bytes_in_another_shape(model, tmp_path):
    attach(model, tmp_path)
    grey = torch.rand(3, 1, SIZE, SIZE)
    model.encode(grey, num_frames=3)
    colour = grey.view(1, 3, SIZE, SIZE)
    assert torch.equal(model.encode(colour).embedding, without_cache(model, colour))


def test_settings_tell_encoders_of_equal_weights_apart(model, tmp_path):
    images = torch.rand(1, 1, SIZE, SIZE)
    attach(model, tmp_path, settings="window_size=2")
    model.encode(images)
    attach(model, tmp_path, settings="window_size=4")
    calls = encoded(model)
    model.encode(images)
    assert len(calls) == 1


def test_half_precision_is_kept_apart_and_as_it_is(model, tmp_path):
    images, calls = torch.rand(2, 1, SIZE, SIZE), encoded(model)
    attach(model, tmp_path)
    model.encode(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = [model.encode(images).embedding for _ in range(2)]
        wanted = without_cache(model, images)
    assert len(calls) == 3
    assert half[1].dtype == wanted.dtype
    assert torch.equal(half[0], wanted)
    assert torch.equal(half[1], wanted)
    assert torch.equal(model.encode(images).embedding, without_cache(model, images))


def test_gradients_pass_the_encoder(model, tmp_path):
    attach(model, tmp_path)
    images = torch.rand(1, 1, SIZE, SIZE, requires_grad=True)
    model.encode(images).embedding.sum().backward()
    assert images.grad.abs().sum() > 0
    model.backbone.neck.requires_grad_(True)
    model.encode(images.detach()).embedding.sum().backward()
    assert model.backbone.neck[0].weight.grad is not None
    assert entries(tmp_path) == []


class Encode(nn.Module):
    def __init__(self, model: PromptableSegmentor) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.encode(images).embedding


def by_compiling(model: PromptableSegmentor, images: Tensor) -> Tensor:
    return torch.compile(Encode(model), backend="eager", fullgraph=True)(images)


def by_exporting(model: PromptableSegmentor, images: Tensor) -> Tensor:
    return torch.export.export(Encode(model), (images,)).module()(images)


def by_tracing(model: PromptableSegmentor, images: Tensor) -> Tensor:
    return torch.jit.trace(Encode(model), images, check_trace=False)(images)


@pytest.mark.parametrize("way", [by_compiling, by_exporting, by_tracing])
@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_steps_aside_where_the_network_is_traced(model, tmp_path, way: Callable):
    attach(model, tmp_path)
    images = torch.rand(1, 1, SIZE, SIZE)
    torch.testing.assert_close(way(model.eval(), images), without_cache(model, images))
    assert entries(tmp_path) == []


def test_a_frozen_encoder_is_accepted_in_either_mode():
    for backbone in (VIT, SAMUS, dict(SAMUS, temporal=dict(type="TRA"))):
        model = build(backbone)
        refuse_unless_frozen(model)
        assert model.training
        refuse_unless_frozen(model.eval())
        assert not any(part.training for part in model.modules())


def test_a_trainable_encoder_is_refused():
    message = r"^backbone.neck.0.weight trains, and so do 5 more parameters .*model.frozen"
    with pytest.raises(ConfigError, match=message):
        refuse_unless_frozen(build(VIT, trainable=("backbone.neck.*",)))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.Dropout(0.1), "Dropout"),
        (nn.BatchNorm2d(CHANNELS, affine=False), "BatchNorm2d"),
    ],
)
def test_a_layer_that_acts_otherwise_in_training_is_refused(layer, name):
    model = build(VIT)
    model.backbone.neck.append(layer)
    message = rf"backbone.neck.4 \({name}\) acts otherwise in training"
    with pytest.raises(ConfigError, match=message):
        refuse_unless_frozen(model)


def test_dropout_of_nothing_is_none():
    model = build(VIT)
    model.backbone.neck.append(nn.Dropout(0.0))
    refuse_unless_frozen(model)


def test_a_network_without_an_encoder_apart_is_refused():
    with pytest.raises(ConfigError, match="found Linear: it has no encoder apart"):
        refuse_unless_frozen(nn.Linear(1, 1))
