"""AutomaticSegmentor: prompts as they are drawn in training, and what corrections change."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import init_default_scope

from echozoo.engine.scales import load_scaled
from echozoo.errors import ConfigError
from echozoo.models.prompts import Prompts
from echozoo.models.segmentors.wrong_points import worst_points
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

SIZE = 32


@pytest.fixture
def model() -> torch.nn.Module:
    init_default_scope("echozoo")
    cfg = load_scaled("configs/lite_medsam_auto.py", "tiny")
    cfg.model.backbone.stem_stride = 1
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def samples(frames: int = 2) -> list[EchoDataSample]:
    labels = torch.zeros(frames, SIZE, SIZE, dtype=torch.uint8)
    labels[:, 4:12, 4:20], labels[:, 12:16, 4:20], labels[:, 20:28, 8:24] = 1, 2, 3
    boxes = torch.tensor([[4.0, 4, 19, 11], [4, 12, 19, 15], [8, 20, 23, 27]])
    meta = dict(
        input_size=(SIZE, SIZE), valid_size=(SIZE, SIZE), native_size=(SIZE, SIZE),
        structures=("lv", "myo", "la"),
    )  # fmt: skip
    boxes = boxes.expand(frames, 3, 4)
    return [EchoDataSample(metainfo=meta, gt_labels=labels, boxes=boxes)]


@pytest.fixture
def given(model, monkeypatch) -> list[Prompts]:
    """The prompts that are decoded, with coarse masks that hold 10 columns too much of the LV."""
    prompts: list[Prompts] = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda f, p: prompts.append(p) or decode(f, p))
    coarse = torch.full((2, 3, SIZE, SIZE), -5.0)
    coarse[:, 0, 4:12, 4:30] = 5
    monkeypatch.setattr(
        model.prompt_head,
        "look",
        lambda f: type(f)(f.maps, f.num_frames, f.images, {"coarse": coarse}),
    )
    model.without_coarse = 0.0
    return prompts


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_boxes_are_given_to_a_share_of_the_structures(model, given, share):
    model.clicked, model.boxed = 0.0, share
    losses = model(torch.rand(1, 2, 1, SIZE, SIZE), samples(), mode="loss")
    assert all(torch.isfinite(value) for value in losses.values())
    (prompts,) = given
    assert prompts.kinds == {"boxes"}
    assert (prompts.boxes == share * samples()[0].boxes).all()


def test_each_round_clicks_where_the_last_mask_is_most_wrong(model, given, monkeypatch):
    model.clicked, model.max_clicks, model.bend = 1.0, 3, 0.0
    monkeypatch.setattr("random.randint", lambda low, high: high)
    answers: list[torch.Tensor] = []
    decode = model.decode

    def remembered(features, prompts):
        answers.append(decode(features, prompts)[0])
        return answers[-1], None

    monkeypatch.setattr(model, "decode", remembered)
    losses = model(torch.rand(1, 2, 1, SIZE, SIZE), samples(), mode="loss")
    assert [one.kinds for one in given] == [{"boxes"}] + [{"boxes", "points"}] * 3
    labels = samples()[0].gt_labels
    wanted = torch.stack([labels == number for number in (1, 2, 3)], 1).float()  # 2, 3, H, W
    for number, (prompts, before) in enumerate(zip(given[1:], answers, strict=False)):
        assert prompts.points.shape == (2, 3, number + 1, 2)
        if number:
            assert (prompts.points[:, :, :number] == given[number].points).all()
        points, said = worst_points(before, wanted, torch.ones(2, 3, dtype=torch.bool))
        assert (prompts.points[:, :, number:] == points).all()
        assert (prompts.labels[:, :, number:] == said).all()
    losses["loss_dice"].backward()
    assert [one.requires_grad for one in answers] == [False, False, False, True]


def test_coarse_masks_err_and_are_absent_in_training_alone(model):
    features = model.encode(torch.rand(2, 1, SIZE, SIZE))
    coarse = torch.full((2, 3, SIZE, SIZE), -4.0)
    coarse[..., 16:] = 4  # x
    features = type(features)(features.maps, 2, features.images, {"coarse": coarse})
    model.without_coarse = 1.0
    assert not model._spoilt(features, bend=0.0).extra
    model.without_coarse, model.noise = 0.0, 2.0
    spoilt = model._spoilt(features, bend=0.0).extra["coarse"]
    assert 0 < (spoilt - coarse).abs().amax() < 10
    model.noise = 0.0
    bent = model._spoilt(features, bend=0.1).extra["coarse"]
    assert bent.abs().amax() <= 4
    moved = ((bent > 0).sum(-1) - 16).float()  # px, 2, 3, H
    assert 0 < moved.abs().mean() < 8
    assert moved.std(-1).amax() > 0  # bent, not shifted


@torch.no_grad()
def test_no_prompt_is_needed_and_samples_may_carry_corrections(model):
    model.eval()
    clips, batch = torch.rand(1, 2, 1, SIZE, SIZE), samples()
    with_boxes = model(clips, batch, mode="tensor")
    del batch[0].boxes
    alone = model(clips, batch, mode="tensor")
    assert alone.shape == with_boxes.shape == (2, 3, SIZE, SIZE)
    assert not torch.equal(alone, with_boxes)
    assert torch.equal(alone, model(clips, mode="tensor"))


def test_rounds_have_no_losses_of_films():
    cfg = load_scaled("configs/sam_med2d.py", "tiny")
    init_default_scope("echozoo")
    with pytest.raises(ConfigError, match="found film_losses, wants none"):
        MODELS.build({**cfg.model, "film_losses": [dict(type="TemporalSmoothness")]})
