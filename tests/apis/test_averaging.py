from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from film_files import moving_disc

from echozoo.apis.averaging import AveragedModel
from echozoo.apis.inferencer import EchoInferencer
from echozoo.apis.loading import load_model
from echozoo.errors import ConfigError

FILM = moving_disc(5, (40, 48))


def moved(run: Path, folder: Path, seed: int) -> Path:
    """A run like another, with other weights."""
    folder.mkdir()
    (folder / "tiny.py").write_text((run / "tiny.py").read_text())
    saved = torch.load(run / "best_x_epoch_1.pth", weights_only=True)
    generator = torch.Generator().manual_seed(seed)
    for value in saved["state_dict"].values():
        if value.is_floating_point():
            value += 0.3 * value.abs().mean() * torch.randn(value.shape, generator=generator)
    torch.save(saved, folder / "best_x_epoch_1.pth")
    return folder


def labels_of(infer: EchoInferencer) -> np.ndarray:
    return infer(FILM).results[0].labels.read()


def test_the_mean_of_two_runs(unet: Path, tmp_path: Path) -> None:
    runs = [unet, moved(unet, tmp_path / "other", 1)]
    chances = [load_model(run, device="cpu").chances(FILM) for run in runs]
    assert chances[0].shape == (5, 4, 40, 48)
    torch.testing.assert_close(chances[0].sum(1), torch.ones(5, 40, 48))
    infer = EchoInferencer(runs, device="cpu", progress=False)
    wanted = sum(chances).argmax(1).numpy()
    np.testing.assert_array_equal(labels_of(infer), wanted)
    assert (wanted != chances[0].argmax(1).numpy()).any()
    result = infer(FILM, tmp_path / "out").results[0]
    (other,) = result.summary["averaged_with"]
    assert other["checkpoint"] == str(runs[1] / "best_x_epoch_1.pth")
    assert not infer(FILM, tmp_path / "other out").results[0].kept


@pytest.mark.parametrize("kind", ["unet", "automatic"])
def test_a_model_and_itself_are_the_model(kind: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(kind)
    alone, twice = (EchoInferencer(one, device="cpu", progress=False) for one in (run, [run, run]))
    same = labels_of(alone) == labels_of(twice)
    assert same.mean() > 0.999


def test_flipped_films_give_flipped_masks(unet: Path) -> None:
    """What one sees in a film and its mirror image is the same, mirrored."""
    model = AveragedModel([load_model(unet, device="cpu")], flip=True)
    straight = model.predict(FILM).pred_labels.numpy()
    mirrored = model.predict(np.ascontiguousarray(FILM[..., ::-1])).pred_labels.numpy()
    np.testing.assert_array_equal(straight, mirrored[..., ::-1])
    assert len(np.unique(straight)) > 1


def test_what_is_not_averaged(unet: Path, clicked: Path) -> None:
    with pytest.raises(ConfigError, match="it needs prompts: only automatic models are averaged"):
        EchoInferencer([unet, clicked], device="cpu", progress=False)
    with pytest.raises(ConfigError, match="takes no prompts"):
        EchoInferencer([unet, unet], device="cpu", prompts={"lv": {"point": [1, 1]}})
