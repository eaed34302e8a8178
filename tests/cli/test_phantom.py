"""echozoo phantom from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from echozoo.cli import phantom as command
from echozoo.datasets.camus import CAMUSDataset

OPTIONS = ["--patients=3", "--seed=4", "--spacing=2", "--workers=1", "--frames", "3", "4"]


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int | str:
    monkeypatch.setattr("sys.argv", ["phantom", *argv])
    with pytest.raises(SystemExit) as caught:
        command.main()
    return caught.value.code


def test_writes_a_data_set_once(tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "phantom"
    assert run(monkeypatch, str(out), *OPTIONS) == 0
    assert "3 patients written" in capsys.readouterr().out
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert run(monkeypatch, str(out), *OPTIONS) == 0
    assert "0 patients written, 3 were there" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == stamps
    dataset = CAMUSDataset(data_root=str(out), subset="train", clip_length=2, pipeline=[])
    assert len(dataset) > 0


def test_refuses_in_one_line(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "something").write_text("else")
    message = run(monkeypatch, str(tmp_path), *OPTIONS)
    assert message.startswith("error: ")
    assert "no phantom" in message
    assert "\n" not in message
