from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from echozoo.cli import infer as command
from echozoo.engine.config_file import load_config
from echozoo.films.io import read_volume
from echozoo.registry import MODELS

CONFIG = """
_base_ = "{configs}/unet.py"
model = dict(backbone=dict(base_channels=4), decode_head=dict(in_channels=4, channels=4))
test_dataloader = dict(dataset=dict(image_size=(32, 32)))
"""


@pytest.fixture(scope="module")
def run(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.py").write_text(CONFIG.format(configs=tiny_configs))
    cfg = load_config(folder / "tiny.py")
    init_default_scope("echozoo")
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, folder / "best_a_epoch_1.pth")
    return folder


@pytest.fixture(scope="module")
def samus_run(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAMUS with TRA, which takes clicks, in clips of two frames."""
    folder = tmp_path_factory.mktemp("samus")
    text = "test_dataloader = dict(dataset=dict(clip_length=2))"
    (folder / "small.py").write_text(f'_base_ = "{tiny_configs}/samus_tra.py"\n{text}\n')
    cfg = load_config(folder / "small.py")
    init_default_scope("echozoo")
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, folder / "best_a_epoch_1.pth")
    return folder


@pytest.fixture
def infer(monkeypatch: pytest.MonkeyPatch):
    def call(*arguments: object) -> int | str:
        monkeypatch.setattr("sys.argv", ["infer", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            command.main()
        return stop.value.code

    return call


def test_a_folder_with_a_broken_film(
    infer, run: Path, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = next((phantom / "database_nifti").iterdir())
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"\x1f\x8b")
    out = tmp_path / "out"
    options = ["--device", "cpu", "--postprocess", "LargestComponent", "--batch-size", 2]
    assert infer("-m", run, patient, broken, "-o", out, *options) == 1
    text, log = capsys.readouterr()
    assert "fast_cpu: " in log
    assert "fast_cpu" not in text, "stdout is for the results"
    assert "1 failed:\n  broken: " in text
    films = [p for p in patient.glob("*.nii.gz") if not p.name.endswith("_gt.nii.gz")]
    others = sum(p.is_file() for p in patient.iterdir()) - len(films)
    assert f"{len(films)} of {len(films) + others + 1} files" in text
    assert f"{others} left out:" in text
    for film in films:
        folder = out / film.name.removesuffix(".nii.gz")
        labels, source = read_volume(folder / "labels.nii.gz", label=True), read_volume(film)
        assert labels.array.shape == source.array.shape
        assert labels.spacing == source.spacing
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["checkpoint"] == str(run / "best_a_epoch_1.pth")
        assert np.unique(labels.array).max() <= 3


def test_a_config_and_a_checkpoint(infer, run: Path, tmp_path: Path, phantom: Path) -> None:
    film = next(phantom.rglob("*_ED.nii.gz"))
    for checkpoint in (run, run / "best_a_epoch_1.pth"):
        assert infer(run / "tiny.py", checkpoint, film, "-o", tmp_path, "--device", "cpu") == 0


@pytest.mark.parametrize("options", [["--int8"], ["--amp"]], ids=["int8", "amp"])
def test_other_precisions(
    infer, samus_run: Path, tmp_path: Path, phantom: Path, options: list[str]
) -> None:
    film = next(phantom.rglob("*_half_sequence.nii.gz"))
    clicks = tmp_path / "clicks.json"
    clicks.write_text(json.dumps({"frame": 0, "lv": {"point": [30, 30]}}))
    options = [*options, "--prompts", clicks, "-o", tmp_path / "out", "--device", "cpu"]
    assert infer(samus_run, film, *options) == 0
    summary = json.loads(next((tmp_path / "out").rglob("summary.json")).read_text())
    assert summary["precision"] == {"--int8": "int8", "--amp": "bf16"}[options[0]]


def test_a_script_among_the_films_makes_no_model_of_their_folder(
    infer, run: Path, tmp_path: Path, phantom: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    film = next(phantom.rglob("*_half_sequence.nii.gz"))
    (films / film.name).write_bytes(film.read_bytes())
    (films / "gdcm.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert infer(run, films, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "films.csv").is_file()
    assert not (tmp_path / "ran").exists()


def test_errors_are_one_line(infer, run: Path, tmp_path: Path) -> None:
    out = ["-o", tmp_path / "out", "--device", "cpu"]
    assert "no weights: give a checkpoint" in infer(run / "tiny.py", tmp_path, *out)
    assert "a model and no film" in infer(run / "tiny.py", run, *out)
    assert "unet.py: no weights: give a checkpoint" in infer("-m", "unet", tmp_path, *out)
    assert "no films in this folder" in infer(run, tmp_path, *out)
    assert "no such file" in infer(run, tmp_path / "absent.nii", *out)
    assert "takes no prompts" in infer(run, tmp_path, "--prompts", "x.json", *out)
    assert "UNet has no linear layers" in infer(run, tmp_path, "--int8", *out)
    assert "int8 and amp: choose one" in infer(run, tmp_path, "--int8", "--amp", "bf16", *out)
    assert "int8 and compile: choose one" in infer(run, tmp_path, "--int8", "--compile", *out)
    assert "no such config" in infer("absent.py", tmp_path, *out)
    assert "wanted RUN, or CONFIG" in infer(run, tmp_path, "--coarse", 1, 2, 3, "-o", tmp_path)
    assert infer(run, tmp_path, "--postprocess", "Absent", *out).startswith("error: ")
