"""The autoencoder of shapes and the smoother with it: equal to the published, trained, used."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from echozoo.errors import CheckpointError, ConfigError
from echozoo.evaluation.limits import load_limits
from echozoo.models.shapes.code_smoothing import code_errors, smooth_codes, smooth_shape
from echozoo.models.shapes.shape_codes import ATTRIBUTES, ShapeCodes
from echozoo.models.shapes.smoother import ShapeCodeSmoother
from echozoo.postprocessing import Postprocessing
from echozoo.structures import EchoDataSample

VALUES = {"lv": 1, "myo": 2, "la": 3}
SMALL = dict(widths=(4, 8), codes=8, side=16)


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "golden/related_video/painchaud.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.fixture(scope="module")
def published(shared: Path, recorded) -> ShapeCodes:
    folder = shared / "golden/related_video"
    spec = importlib.util.spec_from_file_location("video_weights", folder / "weights.py")
    rule = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))
    spec.loader.exec_module(rule)
    sys.path.remove(str(folder))
    weights = rule.load(folder / "painchaud_keys.json.gz")
    model = ShapeCodes()
    weights = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    model.load_state_dict(weights | {"bounds": torch.from_numpy(recorded["bounds"])})
    return model.eval()


def check(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() / wanted.std() < 1e-3


def labels_of(recorded: dict) -> np.ndarray:
    lv, myo = np.unpackbits(recorded["labels"], axis=-1)
    return (lv + 2 * myo).astype(np.uint8)


@pytest.mark.slow
def test_a_film_is_smoothed_as_published(published, recorded, tmp_path):
    """Codes, smoothed codes, decoded maps; and the whole step, from labels to labels."""
    assert sum(p.numel() for p in published.parameters()) == 5_194_019
    labels = labels_of(recorded)
    with torch.no_grad():
        check(published.encode_maps(torch.from_numpy(labels)).numpy(), recorded["codes"])
        codes = torch.from_numpy(recorded["codes"][::3]).float()
        raw = published.decoder(codes)[..., ::8, ::8]
        smoothed = torch.from_numpy(recorded["smoothed_dlr"][::3]).float()
        logits = published.decoder(smoothed)
    check(raw.numpy(), recorded["decoded_raw"])
    check(logits[..., ::8, ::8].numpy(), recorded["decoded_dlr"])
    torch.save({"state_dict": published.state_dict()}, tmp_path / "shapes.pth")
    step = ShapeCodeSmoother(tmp_path / "shapes.pth")
    found = np.stack(list(step(labels, {"lv": 1, "myo": 2}, None, [3])))
    same = found[::3] == logits.argmax(1).numpy()
    same[1] = True  # pinned
    assert same.mean() > 0.9999
    np.testing.assert_array_equal(found[3], labels[3])


def test_codes_are_smoothed_as_published(recorded):
    limits = load_limits("camus").attributes
    thresholds = np.array([limits[key].threshold for key in ATTRIBUTES])
    codes, bounds = recorded["codes"], recorded["bounds"]
    found, weights = smooth_shape(codes, bounds, thresholds)
    check(found, recorded["smoothed_dlr"])
    np.testing.assert_array_equal(weights, recorded["weights_dlr"])
    check(smooth_codes(codes, 50.0), recorded["smoothed_plain"])
    check(code_errors(codes, bounds)[:, :7].T, recorded["consistency"])


@pytest.mark.parametrize("frames", [1, 2, 3, 9])
def test_the_banded_solution_is_the_closed_form(frames):
    path = np.diff(np.eye(frames), axis=0)
    codes = np.random.default_rng(0).normal(size=(frames, 3))
    wanted = np.linalg.solve(np.eye(frames) + 7.0 / 2 * path.T @ path, codes)
    np.testing.assert_allclose(smooth_codes(codes, 7.0), wanted, atol=1e-12)


def sample(labels: np.ndarray, structures=("lv", "myo"), side: int = 16) -> EchoDataSample:
    size = dict.fromkeys(("native_size", "valid_size", "input_size"), (side, side))
    about = dict(structures=structures, spacing=(8.0, 8.0), frames=tuple(range(len(labels))))
    return EchoDataSample(metainfo=about | size, gt_labels=torch.from_numpy(labels))


def shapes(count: int, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:16, :16] - 7.5
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(count):
        r = np.hypot(y / rng.uniform(0.8, 1.4), x) - rng.uniform(2, 4)
        maps.append(np.where(r < 0, 1, np.where(r < 2, 2, 0)))
    return np.stack(maps).astype(np.uint8)


@pytest.fixture(scope="module")
def trained() -> ShapeCodes:
    torch.manual_seed(0)
    model = ShapeCodes(**SMALL).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    clip = sample(shapes(12))
    for _ in range(40):
        losses = model(torch.zeros(1, 12, 1, 16, 16), [clip], "loss")
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return model.eval()


def test_it_learns_shapes_and_the_order_of_their_attributes(trained):
    clip = sample(shapes(12, seed=1))
    (found,) = trained(torch.zeros(1, 12, 1, 16, 16), [clip], "predict")
    assert (found.pred_labels == clip.gt_labels).float().mean() > 0.8
    with torch.no_grad():
        codes = trained.encode_maps(clip.gt_labels)[:, 0]
    areas = (clip.gt_labels == 1).sum((1, 2)).float()
    assert torch.corrcoef(torch.stack([codes, areas]))[0, 1] > 0.7
    assert (trained.bounds[0] < trained.bounds[1]).all()


def test_frames_without_labels_are_left_out(trained):
    maps = shapes(6)
    holes = np.concatenate([maps, np.full((2, 16, 16), 255, np.uint8)])
    torch.manual_seed(1)
    model = ShapeCodes(**SMALL).eval()
    losses = []
    for one in (maps, holes):
        torch.manual_seed(2)
        losses.append(model(torch.zeros(1), [sample(one)], "loss"))
    for name, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][name])


def test_it_is_a_step_of_a_chain_and_leaves_the_atrium(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "shapes.pth")
    chain = Postprocessing([dict(type="ShapeCodeSmoother", weights=str(tmp_path / "shapes.pth"))])
    maps = shapes(20)
    maps[:, -1] = 3
    found = chain.finish(maps, VALUES, None, [4])
    assert found.shape == maps.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[4], maps[4])
    areas = [(one == 1).sum((1, 2)).astype(float) for one in (found, maps)]
    bends = [np.abs(np.diff(one, 2)).mean() for one in areas]
    assert bends[0] < bends[1]
    assert (found[:, -1] == 3).mean() > 0.9
    np.testing.assert_array_equal(chain.finish(maps[:2], VALUES), maps[:2])
    with pytest.raises(ConfigError, match="no myo among lv, la"):
        chain.finish(maps, {"lv": 1, "la": 3})


def test_other_weights_and_sizes_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not the weights of ShapeCodes"):
        ShapeCodeSmoother(tmp_path / "other.pth")
    torch.save(ShapeCodes(**SMALL).state_dict(), tmp_path / "new.pth")
    with pytest.raises(CheckpointError, match="was not trained"):
        ShapeCodeSmoother(tmp_path / "new.pth")
    with pytest.raises(ConfigError, match="wanted a multiple of 8"):
        ShapeCodes(widths=(4, 8), side=20)
    with pytest.raises(ConfigError, match="lv, myo, la of"):
        ShapeCodes(**SMALL)(torch.zeros(1), [sample(shapes(1), ("lv", "myo", "la"))], "loss")
