from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from echozoo.cli import browse as command

MODULE = """
import torch
from echozoo.registry import DATASETS
from echozoo.structures import EchoDataSample


@DATASETS.register_module(force=True)
class ToyClips:
    def __init__(self, data_root, frames=3, views="4CH"):
        self.patient, self.frames, self.view = data_root, frames, views
        print("views", views)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        meta = dict(patient=self.patient, view=self.view, frames=tuple(range(self.frames)))
        meta |= dict(instants=("",) * self.frames, structures=("lv",))
        return dict(
            inputs=torch.zeros(self.frames, 1, 16, 16), data_samples=EchoDataSample(metainfo=meta)
        )
"""
CONFIG = """
custom_imports = dict(imports=["toy_clips"])
model = dict(type="None")
train_dataloader = dict(dataset=dict(type="ToyClips", data_root=None))
test_dataloader = dict(dataset=dict(type="ToyClips", data_root=None, frames=1))
scales = dict(tiny=dict(train_dataloader=dict(dataset=dict(frames=2))))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "toy_clips.py").write_text(MODULE)
    (tmp_path / "toy.py").write_text(CONFIG)
    return tmp_path / "toy.py"


def browse(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str:
    monkeypatch.setattr("sys.argv", ["browse", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        command.main()
    return stop.value.code


@pytest.mark.parametrize(
    ("chosen", "columns"),
    [
        (["--subset", "train"], 3),
        (["--subset", "test"], 1),
        (["--scale", "tiny", "--dataset", "views=2CH"], 2),
    ],
)
def test_a_row_a_clip(
    chosen: list[str],
    columns: int,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = config.parent / "pictures" / "grid.png"
    options = [*chosen, "--num", 2, "--height", 32, "-o", out]
    assert browse(monkeypatch, config, "--data-root", "patient0007", *options) == 0
    printed = capsys.readouterr().out
    assert "2 of 5 clips" in printed
    assert ("views 2CH" in printed) == ("views=2CH" in chosen)
    with Image.open(out) as picture:
        assert picture.size == (6 + columns * 38, 2 * (28 + 32) + 34)


def test_errors_are_one_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no val_dataloader" in browse(monkeypatch, config, "--subset", "val")
    assert "--num 0" in browse(monkeypatch, config, "--num", 0)
    assert "grid.pnk: no kind of picture" in browse(monkeypatch, config, "-o", "grid.pnk")
