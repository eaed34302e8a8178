from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from echozoo.errors import DataError
from echozoo.visualization.curves import plot_curves, read_curves


def write_run(folder: Path, epochs: range, value: float, torn: bool = False) -> Path:
    file = folder / "vis_data" / "scalars.json"
    file.parent.mkdir(parents=True)
    lines = []
    for epoch in epochs:
        for i in (10, 20):
            step = 20 * (epoch - 1) + i
            loss = math.nan if step == 10 else value
            scalars = {"lr": 1e-4, "loss": loss, "loss_dice": loss, "time": 0.1}
            lines.append({**scalars, "epoch": epoch, "iter": step, "step": step})
        dice = {"camus/dice": 0.8, "camus/lv/dice": 0.9, "camus/la/dice": math.nan}
        lines.append({**dice, "camus/lv/iou": 0.7, "time": 0.1, "step": epoch})
    text = "\n".join(json.dumps(line) for line in lines)
    file.write_text(text + ('\n{"lr": 0.0' if torn else "\n"))
    return file


def test_one_file_is_read(tmp_path: Path) -> None:
    curves = read_curves(write_run(tmp_path / "run", range(1, 3), 0.5))
    assert list(curves.train["loss"]) == [10, 20, 30, 40]
    assert math.isnan(curves.train["loss"][10])
    assert curves.val["camus/lv/dice"] == {1: 0.9, 2: 0.9}
    assert "loss" not in curves.val


def test_a_resumed_run_replaces_what_it_repeats(tmp_path: Path) -> None:
    write_run(tmp_path / "20250101_000000", range(1, 5), 0.5, torn=True)
    write_run(tmp_path / "20250102_000000", range(3, 6), 0.2)
    curves = read_curves(tmp_path)
    assert sorted(curves.train["loss"]) == list(range(10, 101, 10))
    assert [curves.train["loss"][step] for step in (40, 50, 100)] == [0.5, 0.2, 0.2]
    assert sorted(curves.val["camus/dice"]) == [1, 2, 3, 4, 5]


def test_a_picture_is_made(tmp_path: Path) -> None:
    write_run(tmp_path / "20250101_000000", range(1, 4), 0.5)
    plot_curves(tmp_path, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 50


def test_a_run_of_nothing_is_drawn_too(tmp_path: Path) -> None:
    file = tmp_path / "scalars.json"
    file.write_text("")
    plot_curves(file, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").is_file()


def test_no_scalars_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no scalars.json"):
        read_curves(tmp_path)
