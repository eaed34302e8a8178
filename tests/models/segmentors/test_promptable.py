from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.models.segmentors.promptable import PromptableSegmentor
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

SIZE = 64


def build(configs: Path, **settings) -> PromptableSegmentor:
    init_default_scope("echozoo")
    cfg = Config.fromfile(configs / "samus_tra.py").model
    cfg.backbone.update(
        embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,), img_size=SIZE,
        pos_embed_size=8, conv_channels=(4, 4, 8), out_channels=32,
    )  # fmt: skip
    cfg.prompt_head.update(embed_dims=32, img_size=SIZE, embedding_size=8)
    cfg.decoder.update(embed_dims=32, num_heads=2, mlp_dims=32)
    return MODELS.build({**cfg, **settings})


@pytest.fixture
def model(tiny_configs: Path) -> PromptableSegmentor:
    return build(tiny_configs)


@pytest.fixture
def autosamus(tiny_configs: Path) -> PromptableSegmentor:
    head = dict(type="APG", embed_dims=32, img_size=SIZE, embedding_size=8, num_structures=3)
    frozen = ("backbone.*", "prompt_head.encoder.*", "decoder.*")
    return build(tiny_configs, prompt_head=head, frozen=frozen, trainable=())


def clips(batch: int = 2, frames: int = 3, structures: int = 3) -> dict:
    samples = [
        EchoDataSample(
            metainfo=dict(
                input_size=(SIZE, SIZE), valid_size=(SIZE, SIZE), native_size=(50, 70)
            ),
            gt_labels=torch.randint(0, structures + 1, (frames, SIZE, SIZE), dtype=torch.uint8),
            points=torch.rand(frames, structures, 1, 2) * SIZE,
            point_labels=torch.ones(frames, structures, 1, dtype=torch.int64),
        )
        for _ in range(batch)
    ]  # fmt: skip
    return {"inputs": torch.rand(batch, frames, 1, SIZE, SIZE), "data_samples": samples}


def without_prompts(batch: dict) -> dict:
    for sample in batch["data_samples"]:
        del sample.points, sample.point_labels
    return batch


def wake_temporal(model: PromptableSegmentor) -> None:
    for parameter in model.backbone.temporal.parameters():
        torch.nn.init.normal_(parameter, std=0.5)


def test_one_encoder_pass_serves_all_frames_and_structures(model):
    calls = []
    model.backbone.register_forward_hook(lambda *args: calls.append(args[1][0].shape))
    batch = clips(batch=2, frames=3)
    assert model(**batch).shape == (6, 3, SIZE // 2, SIZE // 2)
    assert calls == [(6, 1, SIZE, SIZE)]


def test_training_reaches_every_trainable_parameter(model):
    wake_temporal(model)  # its last layer is zero at the start, which holds back the others
    losses = model(**clips(), mode="loss")
    assert set(losses) == {"loss_dice", "loss_ce"}
    loss, log_vars = model.parse_losses(losses)
    loss.backward()
    assert log_vars["loss"] == pytest.approx(loss.item())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name


def test_prediction_lies_on_the_native_grid(model):
    batch = clips(frames=2)
    with torch.no_grad():
        samples = model.eval()(**batch, mode="predict")
    assert samples[0].pred_masks.shape == (2, 3, 50, 70)
    assert samples[0].pred_labels.shape == (2, 50, 70)


@torch.no_grad()
def test_encode_and_decode_are_the_two_halves_of_forward(model):
    model.eval()
    batch = clips(batch=1)
    sample = batch["data_samples"][0]
    embedding = model.encode(batch["inputs"][0], num_frames=3).embedding
    logits = model.decode(embedding, sample.points, sample.point_labels)
    torch.testing.assert_close(logits, model(**batch))


@torch.no_grad()
def test_clips_of_a_batch_do_not_mix_but_frames_of_a_clip_do(model):
    model.eval()
    wake_temporal(model)
    batch = clips(batch=2, frames=3)
    together = model(**batch)
    alone = model(batch["inputs"][1:], batch["data_samples"][1:])
    torch.testing.assert_close(together[3:], alone, rtol=1e-4, atol=1e-5)
    changed = batch["inputs"].clone()
    changed[0, 0] = 0
    assert not torch.allclose(model(changed, batch["data_samples"])[1], together[1])


@torch.no_grad()
def test_structures_do_not_see_each_other(model):
    model.eval()
    batch = clips(batch=1)
    sample = batch["data_samples"][0]
    embedding = model.encode(batch["inputs"][0], num_frames=3).embedding
    together = model.decode(embedding, sample.points, sample.point_labels)
    second = sample.points[:, 1:2], sample.point_labels[:, 1:2]
    alone = model.decode(embedding, *second, structures=[1])
    torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_measured_losses_are_those_of_training_clip_by_clip(model):
    model.eval()
    batch = clips()
    assert "loss" not in model(**batch, mode="predict")[0]
    model.measure_loss = True
    for index, sample in enumerate(model(**batch, mode="predict")):
        clip = dict(inputs=batch["inputs"][[index]], data_samples=[sample])
        wanted, _ = model.parse_losses(model(**clip, mode="loss"))
        torch.testing.assert_close(sample.loss, wanted)


@torch.no_grad()
def test_no_prompt_in_a_mask_out(autosamus):
    batch = without_prompts(clips(frames=2))
    samples = autosamus.eval()(**batch, mode="predict")
    assert samples[0].pred_masks.shape == (2, 3, 50, 70)
    logits = autosamus(batch["inputs"])
    assert logits.shape == (4, 3, SIZE // 2, SIZE // 2)


def test_only_the_prompt_generator_trains(autosamus):
    autosamus.parse_losses(autosamus(**without_prompts(clips()), mode="loss"))[0].backward()
    for name, parameter in autosamus.named_parameters():
        own = name.startswith("prompt_head.") and not name.startswith("prompt_head.encoder.")
        assert parameter.requires_grad is (parameter.grad is not None) is own, name


@torch.no_grad()
def test_clicks_on_a_model_that_prompts_itself_are_those_of_samus(model, autosamus):
    model.prompt_head.names = None
    missing, unexpected = autosamus.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith("prompt_head.") for key in missing)
    sample = clips(batch=1)["data_samples"][0]
    embedding = torch.randn(3, 32, 8, 8)
    found, wanted = (
        one.eval().decode(embedding, sample.points, sample.point_labels)
        for one in (autosamus, model)
    )
    torch.testing.assert_close(found, wanted)


def test_losses_of_films_see_frames_that_have_no_labels(tiny_configs):
    smooth = dict(type="TemporalSmoothness", weight=2.0, limits=None)
    model = build(tiny_configs, film_losses=[smooth])
    batch = clips()
    for sample in batch["data_samples"]:
        sample.labelled = torch.zeros(3, 3, dtype=torch.bool)
        names = ("lv", "myo", "la")
        sample.set_metainfo(dict(frames=(4, 5, 6), structures=names, spacing=(1.0, 1.0)))
    losses = model(**batch, mode="loss")
    probabilities = model(**batch).sigmoid().unflatten(0, (2, 3))
    wanted = MODELS.build(smooth)(probabilities, batch["data_samples"])
    torch.testing.assert_close(losses["loss_smoothness"], wanted["loss_smoothness"])
    assert losses["loss_smoothness"] > 0
    assert losses["loss_dice"] == 0
    losses["loss_smoothness"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())
