"""Films go through a memory frame by frame: what one frame knows of the others."""

from __future__ import annotations

import io

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.engine.kept_features import FeatureCache
from echozoo.models.memories.state import SpaceTimeState
from echozoo.models.prompts import Features
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

CONFIGS = ("stm", "stcn", "xmem", "xmem_pp", "memsam")


def build(name: str, **memory):
    init_default_scope("echozoo")
    cfg = Config.fromfile(f"configs/{name}.py")
    cfg.merge_from_dict({"model": cfg.scales["tiny"]["model"]})
    cfg.model.memory.update(every=2, **memory)
    torch.manual_seed(0)
    return MODELS.build(cfg.model).eval()


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return build(request.param)


def film(frames: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch * frames, 1, 96, 96, generator=generator)


def marked(batch: int = 1, structures: int = 2) -> torch.Tensor:
    """Masks as logits: a square for each structure."""
    masks = torch.full((batch, structures, 96, 96), -10.0)
    for k in range(structures):
        masks[:, k, 20 + 20 * k : 50 + 20 * k, 30:60] = 10.0
    return masks


def cut(features: Features, start: int, stop: int) -> Features:
    maps = tuple(one[start:stop] for one in features.maps)
    return Features(maps, stop - start, features.images[start:stop])


@torch.no_grad()
def test_a_clip_of_one_frame_is_legal(model):
    logits, _ = model.stream(model.encode(film(1), 1), {0: marked()})
    assert logits.shape == (1, 1, 2, 96, 96)
    assert logits.isfinite().all()


@torch.no_grad()
def test_a_frame_depends_on_an_earlier_one(model):
    images = film(5)
    before, _ = model.stream(model.encode(images, 5), {0: marked()})
    images[2] = 0
    after, _ = model.stream(model.encode(images, 5), {0: marked()})
    assert torch.equal(before[:, 1], after[:, 1])
    assert (before[:, 4] - after[:, 4]).abs().max() > 1e-6


@torch.no_grad()
def test_a_film_in_one_run_is_the_film_cut_in_two(model):
    features = model.encode(film(6), 6)
    whole, _ = model.stream(features, {0: marked()})
    first, state = model.stream(cut(features, 0, 3), {0: marked()})
    second, _ = model.stream(cut(features, 3, 6), state=state, start=3)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_state_is_saved_and_read_without_code(model):
    features = model.encode(film(4), 4)
    _, state = model.stream(cut(features, 0, 3), {0: marked()})
    file = io.BytesIO()
    torch.save(state.as_dict(), file)
    file.seek(0)
    read = SpaceTimeState.from_dict(torch.load(file, weights_only=True))
    logits = [model.stream(cut(features, 3, 4), state=one, start=3)[0] for one in (state, read)]
    assert torch.equal(*logits)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "given"), [("stm", [0]), ("xmem_pp", [0, 4]), ("memsam", None)], ids=str
)
def test_predictions_say_which_masks_were_given(name, given):
    model, frames = build(name), 5
    sample = EchoDataSample(metainfo=dict(structures=("lv", "myo", "la"), native_size=(96, 96)))
    sample.set_metainfo(dict(input_size=(96, 96), valid_size=(96, 96)))
    sample.mask_prompts = marked(structures=3).expand(frames, -1, -1, -1)
    sample.points = torch.full((frames, 3, 1, 2), 40.0)
    sample.point_labels = torch.ones(frames, 3, 1, dtype=torch.int64)
    (found,) = model(film(frames).unflatten(0, (1, frames)), [sample], mode="predict")
    places = found.given.nonzero().flatten().tolist() if "given" in found else None
    assert places == given, "masks that follow from a click are the model's own"


@torch.no_grad()
def test_features_that_were_kept_are_as_good_as_new(model, tmp_path):
    images, given = film(3), {0: marked()}
    wanted, _ = model.stream(model.encode(images, 3), given)
    model.feature_cache = cache = FeatureCache(model, tmp_path)
    try:
        for _ in range(2):
            found, _ = model.stream(model.encode(images, 3), given)
            torch.testing.assert_close(found, wanted)
    finally:
        model.feature_cache = None
    assert (cache.num_computed, cache.num_read) == (3, 3)


@torch.no_grad()
def test_two_films_at_once_are_two_films(model):
    films = [film(3, seed=seed) for seed in (1, 2)]
    both, _ = model.stream(model.encode(torch.cat(films), 3), {0: marked(batch=2)})
    alone = [model.stream(model.encode(one, 3), {0: marked()})[0] for one in films]
    torch.testing.assert_close(both, torch.cat(alone), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_same_film_twice_is_the_same(model):
    features = model.encode(film(6), 6)
    assert torch.equal(*(model.stream(features, {0: marked()})[0] for _ in range(2)))


@torch.no_grad()
def test_nothing_given_starts_from_nothing(model):
    logits, _ = model.stream(model.encode(film(2), 2), structures=3)
    assert logits.shape == (1, 2, 3, 96, 96)
    assert logits.isfinite().all()


@torch.no_grad()
def test_permanent_frames_act_on_earlier_ones():
    model = build("xmem_pp")
    features = model.encode(film(4), 4)
    one, _ = model.stream(features, {0: marked()})
    two, state = model.stream(features, {0: marked(), 3: marked().flip(-1)})
    assert (one[:, 1] - two[:, 1]).abs().max() > 1e-6
    assert state.permanent_frames == (0, 3)


@torch.no_grad()
def test_the_memory_of_a_long_film_is_bounded():
    for name, memory in (
        ("xmem", dict(long_term=dict(longest=4, shortest=2, prototypes=8, most=24))),
        ("memsam", dict(max_frames=3)),
    ):
        model = build(name, **memory)
        _, state = model.stream(model.encode(film(24), 24), {0: marked()})
        positions = sum(len(bank) for _, bank in state.banks())
        size = len(state.working) // len(state.frames)
        assert positions <= 4 * size + 24
        assert state.frames[0] == 0
        assert state.frames[-1] == 22


def test_gradients_reach_the_memory_through_time(model):
    model.train()
    logits, _ = model.stream(model.encode(film(3), 3), {0: marked()})
    logits[:, -2:].square().mean().backward()
    reached = [n for n, p in model.memory.named_parameters() if p.grad is not None]
    assert any(name.startswith("value_encoder") for name in reached)
    assert any(name.startswith("key") for name in reached)
    model.zero_grad(set_to_none=True)
    model.eval()
