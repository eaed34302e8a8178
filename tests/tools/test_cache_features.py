"""tools/train.py --cache-features as a user starts it, in one process and in two."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--scale", "tiny", "--from-scratch", "--dataset", "frames=ed_es", "split=ratio")

pytestmark = pytest.mark.slow


def train(folder: Path, data: Path, run: str, *options: str, processes: int = 1) -> str:
    """What a training of two epochs printed."""
    tools, config = ROOT / "tools", str(ROOT / "configs" / "autosamus.py")
    start = [sys.executable, str(tools / "train.py"), config]
    if processes > 1:
        start = [str(tools / "dist_train.sh"), config, str(processes)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PORT": port}
    done = subprocess.run(
        [*start, *options, "--data-root", str(data), "--work-dir", run, *OPTIONS]
        + ["--cfg-options", "train_cfg.max_epochs=2"]
        + [f"train_dataloader.batch_size={2 // processes}"],
        cwd=folder,
        env={**os.environ, **environment, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_trains_to_the_same_weights_and_says_what_it_left_out(phantom, tmp_path):
    plain = train(tmp_path, phantom, "plain", "--no-augmentation")
    said = "--no-augmentation: training without RandomGamma, RandomRotate, RandomScaleCrop, Random"
    assert said in plain
    assert "Features" not in plain
    cached = train(tmp_path, phantom, "cached", "--no-augmentation", "--cache-features", "features")
    assert cached.count("Features: 0 read, ") == 1
    assert cached.count("Features: ") == 1, "in the second epoch all are there"
    weights, wanted = (
        torch.load(tmp_path / run / "epoch_2.pth", weights_only=True)["state_dict"]
        for run in ("cached", "plain")
    )
    for name, weight in weights.items():
        torch.testing.assert_close(weight, wanted[name], rtol=0, atol=1e-4, msg=name)


def test_two_processes_share_a_folder(phantom, tmp_path):
    options = ("--no-augmentation", "--cache-features", "features", "--cache-gb", "1")
    printed = train(tmp_path, phantom, "two", *options, processes=2)
    assert printed.count("Features: ") >= 1, printed
    one = train(tmp_path, phantom, "one", *options)
    assert "Epoch(train) [2]" in one
    assert "Features: " not in one, "two have encoded all that one reads"
