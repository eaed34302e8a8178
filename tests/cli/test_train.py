"""echozoo train and echozoo test as a user starts them, on a toy network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from killing import run_tool
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "engine" / "toy" / "toy_config.py"

pytestmark = pytest.mark.slow


def start(folder: Path, tool: str, *args: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "CAMUS_ROOT"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tools" / tool), str(CONFIG), *args],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background is started with Ctrl-C ignored, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_train_resume_and_test(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = start(tmp_path, "train.py", "--data-root", "x", "--resume", "--amp")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "work_dirs/toy_config: no checkpoint, a new run" in out
    assert "loss:" in out
    assert err == "", "no warning at the start"

    options = ("--cfg-options", "train_cfg.max_epochs=3", "model.pretrained=gone.pth")
    status, out = run_tool("train.py", CONFIG, "--data-root", "x", "--resume", *options)
    assert status == 0, out
    assert "resuming from work_dirs/toy_config/epoch_2.pth" in out
    assert out.count("Epoch(train)") == 4
    # What the weights started from is not read again, and still said.
    kept = tmp_path / "work_dirs" / "toy_config" / "toy_config.py"
    kept = Config.fromfile(kept, import_custom_modules=False)
    assert kept.model.pretrained == "gone.pth"

    status, out = run_tool("test.py", CONFIG, "work_dirs/toy_config", "--data-root", "x")
    assert status == 0, out
    assert "Weights from work_dirs/toy_config/best_toy_error" in out
    assert (tmp_path / "work_dirs" / "toy_config" / "toy.csv").is_file()


def test_printed_config_is_the_one_that_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("--seed", "7", "--cfg-options", "train_cfg.max_epochs=3")
    status, out = run_tool("train.py", CONFIG, *options, "--print-config")
    assert status == 0, out
    path = tmp_path / "printed.py"
    path.write_text(out)
    printed = Config.fromfile(path, import_custom_modules=False)
    assert (printed.train_cfg.max_epochs, printed.randomness.seed) == (3, 7)
    assert printed.model == dict(type="ToyModel")
    assert list(tmp_path.iterdir()) == [path], "nothing has run"


def test_interrupted_says_how_to_go_on(tmp_path):
    options = ("--cfg-options", "train_cfg.max_epochs=100000")
    process = start(tmp_path, "train.py", "--data-root", "x", *options)
    for line in process.stdout:
        if "Epoch(train)" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; a training goes on from its last checkpoint with --resume" in out
    assert "Traceback" not in err


@pytest.mark.parametrize(("tool", "more"), [("train.py", ()), ("test.py", ("run",))])
def test_wrong_config_names_close_ones(tmp_path, monkeypatch, tool, more):
    monkeypatch.chdir(tmp_path)
    status, out = run_tool(tool, "samus_tar.py", *more)
    assert status == 1
    last = out.splitlines()[-1]
    assert last.startswith("error: samus_tar.py: no such config; did you mean ")
    assert "samus_tra.py" in last
