"""echozoo test, then echozoo report on what it left."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.registry import MODELS


def run_tool(monkeypatch, name: str, *args: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"echozoo {name}", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"echozoo.cli.{name}").main()
    if ended.value.code:
        raise RuntimeError(ended.value.code)


@pytest.fixture
def config(tiny_configs: Path, tmp_path: Path) -> Path:
    """A very small U-Net with every step of post-processing."""
    path = tmp_path / "tiny.py"
    path.write_text(
        f"""
_base_ = "{tiny_configs / "unet.py"}"
model = dict(
    backbone=dict(base_channels=4),
    decode_head=dict(in_channels=4, channels=4),
    postprocessing=[
        dict(type="TemporalGaussian", sigma_frames=1.0),
        dict(type="LargestComponent"),
        dict(type="FillHoles"),
        dict(type="CloseGap"),
    ],
)
test_dataloader = dict(num_workers=0, dataset=dict(image_size=(32, 32)))
"""
    )
    return path


def test_a_page_of_a_tested_run(config, phantom, tmp_path, monkeypatch, capsys):
    init_default_scope("echozoo")
    model = MODELS.build(Config.fromfile(config).model)
    checkpoint = tmp_path / "weights.pth"
    torch.save({"state_dict": model.state_dict()}, checkpoint)
    folder = tmp_path / "run"
    run_tool(
        monkeypatch, "test", config, checkpoint, "--data-root", phantom, "--work-dir", folder
    )  # fmt: skip
    assert "implausible predictions: " in capsys.readouterr().out
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"flags", "predicted_px"} <= set(rows[0])
    assert not any("components" in row["flags"] for row in rows), "cleaned before it was measured"
    kinds = [case["kind"] for case in json.loads((folder / "cases/cases.json").read_text())]
    assert kinds.count("worst") > 0

    # The mean of a model and itself is the model, with its steps of post-processing.
    checkpoint.rename(folder / "best_x_epoch_1.pth")
    run_tool(monkeypatch, "test", folder, "--average", folder, "--data-root", phantom)
    with open(folder / "average" / "results.csv", newline="") as file:
        assert [row["dice"] for row in csv.DictReader(file)] == [row["dice"] for row in rows]
    about = json.loads((folder / "average" / "results.json").read_text())
    assert about["checkpoint"].count("best_x_epoch_1.pth") == 2
    assert len(set(about["checkpoint_sha256"].split(" + "))) == 1

    capsys.readouterr()
    run_tool(monkeypatch, "report", folder)
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    page = (folder / "report.html").read_text()
    assert "TemporalGaussian (sigma_frames=1.0), then LargestComponent" in page
    assert page.count("data:image/jpeg;base64,") == len(kinds)
    assert "ClipEncoderDecoder: UNet, FCNHead" in page
    assert "echozoo test " in page


def test_a_folder_without_results_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="^error: .*no results.json here; run echozoo test"):
        run_tool(monkeypatch, "report", tmp_path)
