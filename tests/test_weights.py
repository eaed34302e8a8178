"""The models that come with the zoo: whole, small, documented, and at work without being named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echozoo import weights
from echozoo.apis import EchoInferencer, load_model, open_film
from echozoo.apis.views import find_view
from echozoo.export.weights_file import verify
from echozoo.models.weight_files import file_sha256

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


def test_they_are_small_enough_for_a_repository() -> None:
    sizes = [file.stat().st_size for file in weights.FOLDER.glob("*.safetensors")]
    assert 0 < sum(sizes) < 32e6


@pytest.mark.parametrize("name", weights.names())
def test_whole_and_documented(name: str) -> None:
    file = weights.find(name)
    metadata = verify(file)
    assert metadata["name"] == name
    assert (ROOT / "configs" / f"{name}.py").is_file()
    card = (weights.FOLDER / f"{name}.md").read_text()
    assert file_sha256(file) in card
    assert "CC BY-NC-SA 4.0" in card
    assert "Not measured" not in card
    assert str(Path.home()) not in card


def test_a_name_is_no_path() -> None:
    assert weights.DEFAULT in weights.names()
    assert weights.find("configs/efficient_unet.py") is None
    assert weights.find("../weights/efficient_unet") is None


def test_an_inferencer_needs_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    infer = EchoInferencer(progress=False)
    assert infer.loaded.structures == ("lv", "myo", "la")
    assert infer.loaded.model.view_head.is_fitted
    (result,) = infer(np.zeros((64, 80), np.uint8)).results
    assert result.labels.read().shape == (1, 64, 80)
    assert result.summary["model"] == f"{weights.DEFAULT}.safetensors"


@pytest.mark.slow
def test_real_film_from_another_folder(tmp_path: Path) -> None:
    """pydicom's apical film: cavities where a cardiologist sees them, in every frame."""
    data = pytest.importorskip("pydicom.data", reason="the extra dicom is not installed")
    film = data.get_testdata_file("examples_ybr_color.dcm", download=False)
    tool = ROOT / "tools" / "infer.py"
    command = [sys.executable, str(tool), film, "-o", "out", "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"with {weights.DEFAULT}, which comes with the zoo" in done.stderr
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["frames"] == 30
    areas = np.genfromtxt(folder / "frames.csv", delimiter=",", names=True, dtype=None)
    assert (areas["lv_area_px2"] > 1000).all()
    assert (areas["la_area_px2"] > 300).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs real CAMUS images in ../shared/data")
@pytest.mark.slow
def test_views_and_strangers_on_real_films() -> None:
    infer = EchoInferencer(progress=False)
    films = sorted((SHARED / "films").glob("*frames.nii.gz"))
    films += [SHARED / "films" / f"apical_{name}.mp4" for name in ("four_chamber", "long_axis")]
    found = {}
    for path in films:
        film = open_film(path)
        film.name = path.name[:9].replace("CH", "")  # the look alone
        found[path.name] = find_view(infer.loaded, film)
    assert [view.name for view in found.values()] == ["2CH", "4CH", "4CH", None]
    assert "looks unlike 2CH or 4CH" in found["apical_long_axis.mp4"].notes[0]


def test_load_model_takes_a_name() -> None:
    assert load_model("efficient_unet", device="cpu").checkpoint == weights.find("efficient_unet")
