"""AutomaticSegmentor: prompts as they are drawn in training, and what corrections change."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import init_default_scope

from echozoo.engine.scales import load_scaled
from echozoo.errors import ConfigError
from echozoo.models.prompts import Prompts
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


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_training_draws_clicks_where_the_coarse_mask_is_wrong(model, monkeypatch, share):
    model.clicked = model.boxed = share
    model.without_coarse, model.noise = 0.0, 0.0
    given: list[Prompts] = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda f, p: given.append(p) or decode(f, p))
    coarse = torch.full((2, 3, SIZE, SIZE), -5.0)
    coarse[:, 0, 4:12, 4:30] = 5  # 10 columns too much of the LV, nothing of the rest
    monkeypatch.setattr(
        model.prompt_head,
        "look",
        lambda f: type(f)(f.maps, f.num_frames, f.images, {"coarse": coarse}),
    )
    losses = model(torch.rand(1, 2, 1, SIZE, SIZE), samples(), mode="loss")
    assert all(torch.isfinite(value) for value in losses.values())
    (prompts,) = given
    if share == 0:
        assert (prompts.labels == -1).all()
        assert (prompts.boxes == 0).all()
        return
    assert (prompts.boxes == samples()[0].boxes).all()
    assert (prompts.labels[:, 0] == 0).all()
    assert (prompts.labels[:, 1:] == 1).all()
    x, y = prompts.points[:, 0].flatten(0, 1).T
    assert ((x >= 20) & (x < 30) & (y >= 4) & (y < 12)).all()


def test_coarse_masks_err_and_are_absent_in_training_alone(model):
    features = model.encode(torch.rand(2, 1, SIZE, SIZE))
    coarse = torch.zeros(2, 3, SIZE, SIZE)
    features = type(features)(features.maps, 2, features.images, {"coarse": coarse})
    model.without_coarse = 1.0
    assert not model._spoilt(features).extra
    model.without_coarse, model.noise = 0.0, 2.0
    assert 0 < model._spoilt(features).extra["coarse"].abs().amax() < 10


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
