"""Two processes see the losses of one with the same global batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(phantom, tiny_configs, tmp_path):
    config = str(tiny_configs / "samus_tra.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def losses(run: str, command: list[str], batch: int) -> list[float]:
        options = ["--data-root", str(phantom), "--work-dir", run, "--dataset", "clip_length=2"]
        options += ["--cfg-options", f"train_dataloader.batch_size={batch}"]
        options += ["train_cfg.max_epochs=2", "default_hooks.logger.interval=1"]
        options += ["log_processor.window_size=1"]
        environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PORT": port}
        done = subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            env={**os.environ, **environment, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        log = next((tmp_path / run).glob("*/vis_data/scalars.json")).read_text()
        steps = [json.loads(line) for line in log.splitlines()]
        return [step["loss"] for step in steps if "loss" in step]

    one = losses("one", [sys.executable, str(ROOT / "tools" / "train.py"), config], batch=2)
    two = losses("two", [str(ROOT / "tools" / "dist_train.sh"), config, "2"], batch=1)
    assert len(one) >= 4
    assert one == pytest.approx(two, rel=0, abs=1e-5)
    assert len(set(one)) == len(one), "the losses move"
