from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.errors import DataError
from echozoo.models.segmentors.clip_encoder_decoder import ClipEncoderDecoder
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample


@pytest.fixture
def model() -> ClipEncoderDecoder:
    init_default_scope("echozoo")
    cfg = Config.fromfile("configs/unet.py").model
    cfg.backbone.base_channels = cfg.decode_head.in_channels = cfg.decode_head.channels = 4
    return MODELS.build(cfg)


def clips(batch: int = 2, frames: int = 3) -> dict:
    samples = [
        EchoDataSample(
            metainfo=dict(input_size=(32, 32), valid_size=(32, 24), native_size=(40, 30)),
            gt_labels=torch.randint(0, 4, (frames, 32, 32), dtype=torch.uint8),
        )
        for _ in range(batch)
    ]
    return {"inputs": torch.rand(batch, frames, 1, 32, 32), "data_samples": samples}


def test_losses_are_those_of_the_documents(model):
    losses = model(**clips(), mode="loss")
    assert {name.split(".")[-1] for name in losses} == {"loss_dice", "loss_ce", "acc_seg"}
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
def test_frames_are_segmented_one_by_one_on_the_native_grid(model):
    model.eval()
    batch = clips()
    whole = model(**batch, mode="predict")[1].pred_labels
    single = model(batch["inputs"][1:, 2:], batch["data_samples"][1:], mode="predict")[0]
    assert whole.shape == (3, 40, 30)
    torch.testing.assert_close(single.pred_labels[0], whole[2])
    assert single.pred_masks.shape == (1, 3, 40, 30)
    torch.testing.assert_close(single.pred_masks[0, 1], whole[2] == 2)


@torch.no_grad()
def test_measured_losses_are_those_of_training_clip_by_clip(model):
    model.eval()
    batch = clips()
    assert "loss" not in model(**batch, mode="predict")[0]
    model.measure_loss = True
    samples = model(**batch, mode="predict")
    for index, sample in enumerate(samples):
        clip = dict(inputs=batch["inputs"][[index]], data_samples=[sample])
        wanted, _ = model.parse_losses(model(**clip, mode="loss"))
        torch.testing.assert_close(sample.loss, wanted)
    del samples[0].gt_labels, samples[0].loss
    assert "loss" not in model(**batch, mode="predict")[0]


def test_frames_without_labels_do_not_count(model):
    # Statistics of the batch would know the other frames' images; their labels must not.
    model.eval()
    batch = clips(batch=1)
    for mode in ("loss", "predict"):
        model.measure_loss = mode == "predict"
        sample = batch["data_samples"][0]
        sample.labelled = torch.tensor([[True] * 3, [False] * 3, [True] * 3])
        sample.gt_labels[1] = 255
        found = model(**batch, mode=mode)
        alone = EchoDataSample(metainfo=sample.metainfo, gt_labels=sample.gt_labels[::2])
        wanted = model(batch["inputs"][:, ::2], [alone], mode=mode)
        if mode == "predict":
            found, wanted = {"loss": found[0].loss}, {"loss": wanted[0].loss}
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value)


def test_a_label_map_of_some_structures_is_refused(model):
    batch = clips(batch=1)
    batch["data_samples"][0].labelled = torch.tensor([[True, False, False]] * 3)
    with pytest.raises(DataError, match="labels of some structures of a frame alone"):
        model(**batch, mode="loss")
