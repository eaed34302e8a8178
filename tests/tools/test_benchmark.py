from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from echozoo.benchmark import networks

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("benchmark_tool", ROOT / "tools" / "benchmark.py")
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)
QUICK = ("--repeats", 2, "--warmup", 0, "--device", "cpu")
SAM = ("--config", ROOT / "configs" / "sam_finetune.py", "--scale", "tiny")


@pytest.fixture
def start(monkeypatch, capsys):
    """Run the tool in this process: its exit status and what it printed."""
    monkeypatch.delenv("CAMUS_ROOT", raising=False)

    def run(*args: object) -> tuple[int | str, str, str]:
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            benchmark.main()
        return end.value.code, *capsys.readouterr()

    return run


def parts_of(folder: Path) -> list[dict]:
    return json.loads((folder / "benchmark.json").read_text())["parts"]


def test_forward_and_training_step(start, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = start("forward", "train", "--scale", "tiny", *QUICK, "-o", out)
    assert code == 0
    assert "training step" in printed
    forward, train = parts_of(out)
    for part in (forward, train):
        (row,) = part["rows"]
        assert row["side"] == "echozoo float32"
        # The weights of the small network alone are more than 2 MB.
        assert row["peak_bytes"] > row["at_rest_bytes"] > 2e6
        assert row["flops"] > 1e8
    assert train["rows"][0]["flops"] > 2 * forward["rows"][0]["flops"]


def test_the_encoder_beside_segment_anything(start, monkeypatch):
    args = ("forward", *SAM, "--against", "segment-anything", "--no-memory", *QUICK)
    code, printed, complaint = start(*args)
    assert code == 0
    assert "not equal" not in complaint
    assert "segment-anything" in printed
    monkeypatch.setattr(networks, "TOLERANCE", 0.0)
    code, printed, complaint = start(*args)
    assert code == 1
    assert "echozoo float32" in printed  # the table comes first
    assert "not equal: forward: image encoder alone, batch 1, T = 1: " in complaint


def test_data_and_metrics(start, tmp_path, phantom):
    out = tmp_path / "out"
    code, _, _ = start(
        *("data", "metrics", "--scale", "tiny", "--data-root", phantom, "--patients", 1),
        *("--dataset", "split=files", "clip_length=2", *QUICK, "-o", out),
    )
    assert code == 0
    data, metrics = parts_of(out)
    assert [row["clips"] for row in data["rows"]] == [4] * 4
    assert [row["cases"] for row in metrics["rows"]] == [12] * 2
    written = (out / "benchmark.json").read_text() + (out / "benchmark.md").read_text()
    assert f"--data-root {phantom.name}" in written
    assert str(phantom) not in written


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("data",), "data: no data: give --data-root FOLDER"),
        (("forward", "--batch", 0), "--batch 0: wanted 1 or more"),
        (("train", "--int8"), "--int8 is for inference"),
        (("forward", "--scale", "huge"), "no scale 'huge'"),
        (("forward", "--against", "nowhere"), "no models/segment_anything_samus/build_sam_us.py"),
    ],
)
def test_what_cannot_be_is_one_line(start, args, said):
    code, _, _ = start(*args)
    assert code.startswith("error: ")
    assert said in code
    assert "\n" not in code
