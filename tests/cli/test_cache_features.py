"""echozoo train --cache-features as a user starts it, in one process and in two."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killing import run_tool

TOOLS = Path(__file__).resolve().parents[2] / "tools"
CONFIG = TOOLS.parent / "configs" / "autosamus.py"

pytestmark = pytest.mark.slow


def options(data: Path, run: str, batch_size: int) -> list[str]:
    """Of a training of two epochs."""
    given = ["--scale", "tiny", "--from-scratch", "--no-augmentation", "--data-root", str(data)]
    given += ["--work-dir", run, "--dataset", "frames=ed_es", "split=ratio", "--cfg-options"]
    given += ["train_cfg.max_epochs=2", f"train_dataloader.batch_size={batch_size}"]
    # In this process's own loaders: workers would only have to be started.
    for part in ("train", "val"):
        given += [f"{part}_dataloader.{k}" for k in ("num_workers=0", "persistent_workers=False")]
    return given


def train_in_two(folder: Path, *given: str) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PORT": port}
    done = subprocess.run(
        [str(TOOLS / "dist_train.sh"), str(CONFIG), "2", *given],
        cwd=folder,
        env={**os.environ, **environment, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_share_a_folder_and_weights_stay_the_same(phantom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, plain = run_tool("train.py", CONFIG, *options(phantom, "plain", 2))
    assert status == 0, plain
    said = "--no-augmentation: training without RandomGamma, RandomRotate, RandomScaleCrop, Random"
    assert said in plain
    assert "Features" not in plain
    cache = ("--cache-features", "features", "--cache-gb", "1")
    printed = train_in_two(tmp_path, *cache, *options(phantom, "two", 1))
    assert printed.count("Features: 0 read, ") == 1
    assert printed.count("Features: ") == 1, "in the second epoch all are there"
    status, one = run_tool("train.py", CONFIG, *cache, *options(phantom, "one", 2))
    assert status == 0, one
    assert "Epoch(train) [2]" in one
    assert "Features: " not in one, "two have encoded all that one reads"
    weights, wanted = (
        torch.load(tmp_path / run / "epoch_2.pth", weights_only=True)["state_dict"]
        for run in ("one", "plain")
    )
    for name, weight in weights.items():
        torch.testing.assert_close(weight, wanted[name], rtol=0, atol=1e-4, msg=name)
