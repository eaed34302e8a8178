from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from film_files import moving_disc

from echozoo.apis.loading import load_model
from echozoo.errors import CheckpointError, ConfigError

FILM = moving_disc(4, (50, 70))


def test_what_is_known_of_a_run(unet: Path, clicked: Path, boxed: Path) -> None:
    plain = load_model(unet)
    assert (plain.structures, plain.input_size) == (("lv", "myo", "la"), (32, 32))
    assert (plain.automatic, plain.clip_length, plain.understands) == (True, 1, ())
    assert plain.checkpoint == unet / "best_x_epoch_1.pth"
    assert not plain.model.training
    temporal = load_model(boxed / "tiny.py", boxed)
    assert (temporal.automatic, temporal.clip_length) == (False, 4)
    assert temporal.prompts == temporal.understands == ("boxes", "masks")
    assert load_model(clicked).clip_length == 1


def test_a_model_that_prompts_itself(automatic: Path) -> None:
    loaded = load_model(automatic, device="cpu")
    assert (loaded.automatic, loaded.clip_length) == (True, 4)
    assert loaded.prompts == loaded.understands == ()
    sample = loaded.predict(FILM)
    assert sample.pred_masks.shape == (4, 3, 50, 70)
    features = loaded.encode(FILM)
    clicks = np.full((4, 3, 1, 2), 20.0), np.ones((4, 3, 1), np.int64)
    clicked = loaded.to_native(loaded.decode(features, *clicks), features.meta) > 0
    assert clicked.shape == sample.pred_masks.shape


def test_bad_requests(unet: Path, clicked: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not fit PromptableSegmentor"):
        load_model(clicked / "tiny.py", unet)
    with pytest.raises(CheckpointError, match=r"no weights: give a checkpoint"):
        load_model(unet / "tiny.py")
    with pytest.raises(ConfigError, match=r"no config in this folder"):
        load_model(tmp_path)
    with pytest.raises(ConfigError, match=r"fp16 needs a GPU"):
        load_model(unet, device="cpu", amp="fp16")
    with pytest.raises(ConfigError, match=r"int8: UNet has no linear layers"):
        load_model(unet, device="cpu", int8=True)
    with pytest.raises(ConfigError, match=r"device"):
        load_model(unet, device="cuda:77")
    partial = {"state_dict": load_model(clicked).model.state_dict()}
    partial["state_dict"] = {k: v for k, v in partial["state_dict"].items() if "cnn" not in k}
    torch.save(partial, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"missing|no weights for"):
        load_model(clicked / "tiny.py", tmp_path / "part.pth")


def test_predict_is_on_the_grid_of_the_film(unet: Path) -> None:
    loaded = load_model(unet, device="cpu")
    sample = loaded.predict(FILM)
    assert sample.pred_masks.shape == (4, 3, 50, 70)
    inputs, meta = loaded.prepare(FILM)
    assert inputs.shape == (1, 4, 1, 32, 32)
    data = loaded.model.data_preprocessor({"inputs": list(inputs), "data_samples": [meta]})
    logits = loaded.to_native(loaded.model(data["inputs"]), meta)
    np.testing.assert_array_equal(logits.argmax(1).numpy(), sample.pred_labels.numpy())


def test_prompts_are_in_native_pixels(clicked: Path) -> None:
    loaded = load_model(clicked, device="cpu")
    embedding = loaded.encode(FILM)
    native = np.array([[[[34.5, 24.5]], [[-0.5, -0.5]]]] * 4)  # the centre, and the corner
    labels = np.ones((4, 2, 1), np.int64)
    logits = loaded.decode(embedding, points=native, labels=labels, structures=["lv", "la"])
    assert logits.shape == (4, 2, 16, 16)
    wanted = loaded.model.decode(
        embedding.features,
        torch.tensor([[[[15.5, 15.5]], [[-0.5, -0.5]]]] * 4),
        torch.as_tensor(labels),
        structures=[0, 2],
    )
    torch.testing.assert_close(logits, wanted)
    assert loaded.to_native(logits, embedding.meta).shape == (4, 2, 50, 70)
    one = loaded.decode(embedding[2:3], native[:1], labels[:1], structures=["lv", "la"])
    torch.testing.assert_close(one, wanted[2:3])


def test_boxes_and_masks_reach_the_head(boxed: Path) -> None:
    loaded = load_model(boxed, device="cpu")
    embedding = loaded.encode(FILM)
    masks = FILM[:, None] > 100
    boxes = np.array([[[20, 10, 50, 40]]] * 4)
    seen = []
    embed = loaded.model.prompt_head.embed
    loaded.model.prompt_head.embed = lambda features, prompts, tokens: (
        seen.append(prompts) or embed(features, prompts, tokens)
    )
    assert loaded.decode(embedding, boxes=boxes, masks=masks, structures=["la"]).shape == (
        4,
        1,
        16,
        16,
    )
    scale = torch.tensor([32 / 70, 32 / 50] * 2)
    torch.testing.assert_close(
        seen[0].boxes[0, 0], (torch.as_tensor(boxes[0, 0]) + 0.5) * scale - 0.5
    )
    # 10 is all inside, -10 all outside; the mean says how much of the image is covered.
    assert seen[0].masks.shape == (4, 1, 16, 16)
    assert seen[0].masks.mean() == pytest.approx(20 * masks.mean() - 10, abs=0.3)
    assert (seen[0].masks[0, 0, 8, 8], seen[0].masks[0, 0, 0, 0]) == (10, -10)
