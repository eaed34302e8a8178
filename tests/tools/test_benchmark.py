"""tools/benchmark.py at tiny sizes: what it measures, and that it notices what is not equal."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--repeats", 1)
SAM = ("--config", ROOT / "configs" / "sam_finetune.py", "--scale", "tiny")


@pytest.fixture
def tool(monkeypatch):
    """The tool as a module, on the CPU."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    module = importlib.import_module("benchmark")
    monkeypatch.setattr(module, "DEVICE", "cpu")
    return module


@pytest.fixture
def start(tool, monkeypatch, capsys):
    """Run the tool in this process: its exit status and what it printed."""

    def run(*args: object) -> tuple[int | str, str, str]:
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            tool.main()
        return end.value.code, *capsys.readouterr()

    return run


def rows_of(file: Path) -> list[dict]:
    return json.loads(file.read_text())["rows"]


@pytest.mark.slow
def test_forward_and_training_step(start, tmp_path):
    out = tmp_path / "out.json"
    tiny = ("--scale", "tiny", *QUICK, "-o", out)
    code, _, _ = start("forward", "--amp", *tiny)
    assert code == 0
    rows = rows_of(out)
    assert [row["side"] for row in rows] == ["float32", "bf16"]
    # The weights of the small network alone are more than 2 MB.
    assert all(row["peak_mb"] > 2 for row in rows)
    assert rows[0]["ratio"] == rows[0]["memory_ratio"] == 1
    assert 0 < rows[1]["difference"] < 0.1, "bf16 rounds"
    code, printed, _ = start("train", "--no-memory", *tiny)
    assert code == 0
    assert "train: " in printed
    assert 2 * rows[0]["gflop"] < rows_of(out)[0]["gflop"] < 4 * rows[0]["gflop"]
    assert str(tmp_path) not in out.read_text()


def test_operations_are_counted(tool):
    import torch

    layer = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    x = torch.rand(1, 6, 8)
    projections, attention = 4 * 2 * 6 * 8 * 8, 2 * 2 * 6 * 6 * 8
    counted = 1e9 * tool.count_flops(lambda: layer(x, x, x, need_weights=False))
    assert counted == pytest.approx(projections + attention)


def test_the_encoder_beside_segment_anything(start, tool, monkeypatch):
    args = ("forward", *SAM, "--against", "segment-anything", "--no-memory", *QUICK)
    code, printed, complaint = start(*args)
    assert code == 0
    assert "not equal" not in complaint
    assert "| published | 1 | 1 | " in printed
    monkeypatch.setattr(tool, "TOLERANCE", 0.0)
    code, printed, complaint = start(*args)
    assert code == 1
    assert "| float32 |" in printed  # the table comes first
    assert "not equal: float32 differs by " in complaint


CHECKOUT = """
from turtle import shape
from torch import nn
from .builds import encoder


class Samus(nn.Module):
    def __init__(self, size, **settings):
        super().__init__()
        self.image_encoder = encoder(size, **settings)


def _build_samus(args, **settings):
    return Samus(args.encoder_input_size, **settings)
"""


def test_a_checkout_is_imported_under_a_name_of_its_own(tool, tmp_path):
    package = tmp_path / "models" / "segment_anything_samus"
    package.mkdir(parents=True)
    (package / "build_sam_us.py").write_text(CHECKOUT)
    (package / "builds.py").write_text(
        "from torch import nn\n\n\ndef encoder(size, **settings):\n    return nn.Linear(size, 1)\n"
    )
    before = set(sys.modules)
    found = tool.find_published(str(tmp_path), "train")
    backbone = nn.Module()
    vars(backbone).update(grid_size=4, patch_stride=8, embed_dims=16, blocks=[], num_heads=2)
    backbone.global_attn_indexes = ()
    model = nn.Module()
    model.backbone, model.prompt_head = backbone, nn.Module()
    assert found.build(model).image_encoder.in_features == 32
    new = {name.split(".")[0] for name in set(sys.modules) - before}
    assert not new & {"models", "builds", "build_sam_us"}
    weights = tool.random_weights(nn.BatchNorm1d(400))
    assert weights["weight"].mean() == pytest.approx(1, abs=0.05)
    assert weights["bias"].std() > 0.01, "no table stays at zero"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("forward", "--batch", 0), "--frames: wanted 1 or more"),
        (("train", "--int8"), "--int8 is for inference"),
        (("forward", "--scale", "huge"), "no scale 'huge'"),
        (("forward", "--against", "nowhere"), "build_sam_us.py or tiny_vit_sam.py in it"),
        (("train", "--against", "segment-anything"), "measure forward alone"),
    ],
)
def test_what_cannot_be_is_one_line(start, args, said):
    code, _, _ = start(*args)
    assert code.startswith("error: ")
    assert said in code
    assert "\n" not in code
