"""`echozoo clicks`: every labelled structure is clicked on, and the table adds up."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from echozoo.cli import clicks as tool
from echozoo.engine.config_file import load_config
from echozoo.registry import MODELS


def run_of(configs: Path, name: str, folder: Path) -> Path:
    (folder / f"{name}.py").write_text(
        f'_base_ = "{configs}/{name}.py"\n'
        "test_dataloader = dict(dataset=dict(clip_length=2, split='ratio'))\n"
    )
    init_default_scope("echozoo")
    model = MODELS.build(load_config(folder / f"{name}.py").model)
    torch.save({"state_dict": model.state_dict()}, folder / "best_a_epoch_1.pth")
    return folder


def test_every_structure_of_every_labelled_frame(
    tiny_configs, phantom, tmp_path, monkeypatch, capsys
):
    run = run_of(tiny_configs, "samus_tra", tmp_path)
    out = tmp_path / "out" / "clicks.csv"
    arguments = (run, "--data-root", phantom, "--most", 2, "--goal", 0.99, "-o", out)
    monkeypatch.setattr("sys.argv", ["clicks", *map(str, arguments)])
    with pytest.raises(SystemExit, match="0"):
        tool.main()
    rows = list(csv.DictReader(out.open()))
    counts = Counter((row["sequence"], row["frame"], row["structure"]) for row in rows)
    frames = {key[:2] for key in counts}
    assert len(frames) >= 3
    assert {key[2] for key in counts} == {"lv", "myo", "la"}
    assert set(counts.values()) == {3}, "no click, one, two: an untrained model never gets there"
    assert all(row["dice"] == "0.0000" for row in rows if row["clicks"] == "0")
    printed = capsys.readouterr().out
    assert f"{len(frames):5}           2.00  {len(frames):5}" in printed


def test_a_model_without_clicks_is_refused(tiny_configs, phantom, tmp_path, monkeypatch):
    run = run_of(tiny_configs, "unet", tmp_path)
    monkeypatch.setattr("sys.argv", ["clicks", str(run), "--data-root", str(phantom)])
    with pytest.raises(SystemExit, match="takes no prompts, wanted a model that takes clicks"):
        tool.main()


def test_the_table_counts_who_never_got_there_as_the_most():
    lines = [
        tool.Line("a", 0, "lv", [0.5, 0.95]),
        tool.Line("a", 1, "lv", [0.92]),
        tool.Line("a", 2, "lv", [0.1, 0.2, 0.3]),
    ]
    _, row = tool.table(lines, 0.9, 20)
    assert row.split() == ["lv", "3", "7.00", "1", "0.507", "0.690", "0.723", "0.723", "0.723"]
