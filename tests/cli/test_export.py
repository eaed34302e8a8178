from __future__ import annotations

import sys

import pytest

from echozoo.cli import export
from echozoo.export.onnx_check import Comparison


def start(monkeypatch, *args: object) -> int | str:
    monkeypatch.setattr(sys, "argv", ["export", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        export.main()
    return end.value.code


def test_prints_how_the_files_compare(monkeypatch, tmp_path, capsys):
    asked = []
    compared = [Comparison("encoder.onnx", 12.34, 1.2e-6, 0.0, 40.0, 10.0)]
    monkeypatch.setattr(export, "load_model", lambda *args, **how: asked.append(args))
    monkeypatch.setattr(export, "export_onnx", lambda loaded, out: compared)
    assert start(monkeypatch, "samus.py", "samus.pth", "-o", tmp_path) == 0
    assert asked == [("samus.py", "samus.pth")]
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "encoder.onnx" in line)
    assert [cell.strip() for cell in row.split("│")[2:-1]] == [
        "12.3",
        "1.2e-06",
        "0.0%",
        "40.00",
        "10.00",
        "0.25",
    ]
    assert f"written to {tmp_path}" in out


def test_without_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = start(monkeypatch, "samus.py", "-o", tmp_path)
    assert said.startswith("error: the export to ONNX needs the package onnxruntime: pip install")


def test_no_checkpoint(monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    said = start(monkeypatch, "configs/unet.py", "-o", tmp_path)
    assert "unet.py: no weights: give a checkpoint" in said
    assert "\n" not in said
    (tmp_path / "run").mkdir()
    said = start(monkeypatch, tmp_path / "run", "-o", tmp_path)
    assert "no config in this folder" in said
