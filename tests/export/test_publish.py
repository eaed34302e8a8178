import json
import os
import shutil

import numpy as np
import pytest
import torch

from echozoo.apis import load_model
from echozoo.engine.config_file import load_config
from echozoo.errors import CheckpointError, ConfigError, DataError
from echozoo.export.publish import publish
from echozoo.export.weights_file import verify, write_weights
from echozoo.models import load_published
from echozoo.models.passes.fast_cpu import make_fast
from echozoo.models.weight_files import read_weights
from echozoo.phantom.writing import MANIFEST
from echozoo.registry import MODELS

ESTIMATE = {"mean": 0.9, "low": 0.85, "high": None, "num_cases": 4}
RESULTS = {
    "command": "/home/me/tools/test.py my_tra.py run --data-root ../secret/CAMUS --dataset "
    "cache_dir=/home/me/cache split=fold1",
    "date": "2026-01-02T03:04:05+00:00",
    "definitions": {"dice": "overlap"},
    "summaries": [
        {
            "instant": instant,
            "view": "all",
            "structure": "lv",
            "num_images": 4,
            "num_patients": 2,
            "num_empty": 1,
            "num_absent": 0,
            "estimates": {"dice": ESTIMATE, "hd_mm": {"mean": None, "low": None, "high": None}},
        }
        for instant in ("all", "ED")
    ],
}


@pytest.fixture
def run(runs, tmp_path):
    """A run of one's own, tested."""
    folder = shutil.copytree(runs["tra"], tmp_path / "run")
    (folder / "results.json").write_text(json.dumps(RESULTS))
    os.utime(folder / "best_epoch_1.pth", (1, 1))
    return folder


@pytest.fixture(scope="module")
def published(runs, trained, tmp_path_factory):
    return publish(trained["tra"], tmp_path_factory.mktemp("published"))


def test_weights_are_those_of_the_run_and_nothing_else(published, runs):
    weights = read_weights(published.weights)
    expected = torch.load(runs["tra"] / "best_epoch_1.pth")["state_dict"]
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    digest = verify(published.weights)["weights_sha256"]
    assert published.weights.name == f"my_tra-{digest[:8]}.safetensors"


def test_loads_into_the_published_config(published, trained):
    model = MODELS.build({**load_config(published.config).model, "_scope_": "echozoo"}).eval()
    assert load_published(model, published.weights).left == ()
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        found = make_fast(model).encode(images, num_frames=2).embedding  # as `load_model` does
        assert torch.equal(found, trained["tra"].model.encode(images, num_frames=2).embedding)
    again = load_model(published.config, published.weights, device="cpu")
    assert again.input_size == (64, 64)


def test_the_file_alone_is_a_model(published, trained):
    alone = load_model(published.weights, device="cpu")
    known = trained["tra"]
    assert alone.checkpoint == published.weights
    for name in ("structures", "input_size", "clip_length", "prompts", "understands"):
        assert getattr(alone, name) == getattr(known, name)
    frames = np.random.default_rng(0).integers(0, 255, (2, 70, 60), np.uint8)
    found, expected = (m.encode(frames).features.embedding for m in (alone, known))
    assert torch.equal(found, expected)


def test_in_half_precision(trained, tmp_path):
    done = publish(trained["tra"], tmp_path, half=True)
    weights, exact = read_weights(done.weights), trained["tra"].model.state_dict()
    for name, value in weights.items():
        assert value.dtype == (
            torch.float16 if exact[name].is_floating_point() else exact[name].dtype
        )
        assert torch.allclose(value.to(exact[name]), exact[name], rtol=1e-3, atol=1e-6)
    alone = load_model(done.weights, device="cpu")
    assert next(alone.model.parameters()).dtype == torch.float32


def test_weights_without_a_config(tmp_path):
    write_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, {"config": "model = dict()"})
    with pytest.raises(CheckpointError, match="carries no config.*give the config too"):
        load_model(tmp_path / "w.safetensors")


def test_metadata(published):
    metadata = verify(published.weights)
    config = load_config(published.config)
    assert json.loads(metadata["config"]) == json.loads(json.dumps(config.to_dict()))
    assert metadata["name"] == "my_tra"
    assert metadata["echozoo_version"]
    assert metadata["training_data"].startswith("CAMUS; by the config: subset train, split ratio")
    assert "non-commercial" in metadata["licence"]
    assert metadata["intended_use"] == "research; not for diagnosis"
    assert metadata["date"].startswith("20")
    assert metadata["checkpoint"] == "best_epoch_1.pth"
    assert metadata["started_from"] == "random weights"
    assert metadata["metrics"] == ""
    assert "no metrics: " in published.notes[0]


def test_no_path_of_this_machine(published, run, tmp_path):
    done = publish(load_model(run, device="cpu"), tmp_path / "out")
    for file in (*vars(published).values(), done.weights, done.config, done.card):
        if not isinstance(file, tuple):
            content = file.read_bytes()
            assert b"/private" not in content
            assert b"/home/me" not in content
            assert b"secret" not in content
            assert str(tmp_path).encode() not in content


def test_metrics_of_the_run(run, tmp_path):
    done = publish(load_model(run, device="cpu"), tmp_path / "out")
    assert done.notes == ()
    metrics = json.loads(verify(done.weights)["metrics"])
    assert metrics["summaries"] == RESULTS["summaries"]
    card = done.card.read_text()
    assert "| lv | 4 | 2 | 1 | 0.900 | - |" in card
    assert "- dice: overlap" in card
    command = "test.py my_tra.py run --data-root PATH --dataset cache_dir=cache split=fold1"
    assert f"`{command}`" in card


def test_metrics_of_an_older_checkpoint_are_left_out(run, tmp_path):
    os.utime(run / "results.json", (0, 0))
    loaded = load_model(run, device="cpu")
    done = publish(loaded, tmp_path / "out")
    assert "older than best_epoch_1.pth; test again" in done.notes[0]
    assert verify(done.weights)["metrics"] == ""
    assert "Not measured." in done.card.read_text()
    named = publish(loaded, tmp_path / "named", results=run / "results.json")
    assert "0.900" in named.card.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"summaries": []}',
        '{"command": "x", "summaries": []}',
        '{"command": "x", "summaries": [{}]}',
        '{"command": 1, "summaries": [1]}',
    ],
)
def test_results_that_are_none(trained, tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match="results.json: found no results") as caught:
        publish(trained["tra"], tmp_path / "out", results=tmp_path / "results.json")
    assert "\n" not in str(caught.value)


def test_card_says_what_it_is_and_is_not(published):
    card = published.card.read_text()
    parameters = sum(value.numel() for value in read_weights(published.weights).values())
    for text in (
        "# my_tra",
        "Not for diagnosis",
        "left ventricular cavity, left ventricular myocardium, left atrium",
        "64 x 64 pixels, stretched",
        "(value - 0) / 255",
        "frames of one clip together, in order",
        "non-commercial",
        "IEEE TMI 38(9)",
        f"echozoo test my_tra.py {published.weights.name}",
        f"--verify {published.weights.name}",
        verify(published.weights)["weights_sha256"],
    ):
        assert text in card
    stated = next(line for line in card.splitlines() if ", of which " in line)
    assert 0 < int(stated.split(",")[0]) <= parameters


def test_generated_data_are_named_as_such(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / MANIFEST).write_text("{}")
    config = run / "my_tra.py"
    config.write_text(config.read_text().replace("/private/data", str(tmp_path / "data")))
    metadata = verify(publish(load_model(run, device="cpu"), tmp_path / "out").weights)
    assert metadata["training_data"].startswith("generated films")
    assert metadata["licence"] == "Apache-2.0"


def test_weights_of_unknown_origin_need_a_statement(runs, tmp_path):
    config, file = runs["tra"] / "my_tra.py", tmp_path / "theirs.pth"
    torch.save(torch.load(runs["tra"] / "best_epoch_1.pth")["state_dict"], file)
    loaded = load_model(config, file, device="cpu")
    with pytest.raises(ConfigError, match="theirs.pth: is no checkpoint of a run"):
        publish(loaded, tmp_path / "out")
    done = publish(loaded, tmp_path / "out", training_data="their films", licence="CC0")
    metadata = verify(done.weights)
    assert (metadata["training_data"], metadata["licence"]) == ("their films", "CC0")


def test_weights_of_another_config(runs, tmp_path):
    with pytest.raises(CheckpointError, match="best_epoch_1.pth: does not fit"):
        load_model(runs["unet"] / "my_unet.py", runs["tra"], device="cpu")
    config = tmp_path / "no_tra.py"
    config.write_text(
        f'_base_ = "{runs["tra"]}/my_tra.py"\nmodel = dict(backbone=dict(temporal=None))\n'
    )
    with pytest.raises(CheckpointError, match="unexpected"):
        load_model(config, runs["tra"], device="cpu")


def test_a_hostile_config_inside_is_never_run(trained, runs, tmp_path):
    marker, file = tmp_path / "marker", tmp_path / "hostile.safetensors"
    hostile = f"import os\nos.mkdir({str(marker)!r})\n"
    write_weights(file, trained["tra"].model.state_dict(), {"config": hostile, "name": "x"})
    assert verify(file)["config"] == hostile
    loaded = load_model(runs["tra"] / "my_tra.py", file, device="cpu")
    publish(loaded, tmp_path / "out", training_data="x", licence="x")
    load_published(loaded.model, file)
    assert not marker.exists()
    exec(compile(hostile, "config", "exec"))
    assert marker.exists()  # it is hostile indeed
