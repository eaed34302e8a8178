"""Killed at any moment and started again, a tool ends as if nothing had been.

`pytest tests/mutator --kills 10` kills each of them ten times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from film_files import moving_disc, write_itk

ROOT = Path(__file__).resolve().parents[2]

PHANTOM = """
from echozoo.phantom import PhantomOptions, write_phantom
print("ready", flush=True)
write_phantom({out!r}, PhantomOptions(patients=4, spacing=2.5, frames=(2, 3)))
"""
CACHE = """
from pathlib import Path
from echozoo.films.cache import cached_volume
print("ready", flush=True)
for path in sorted(Path({films!r}).iterdir()):
    cached_volume(path, {out!r})
"""
INFER = """
from echozoo.apis import EchoInferencer
inferencer = EchoInferencer({run!r}, device="cpu", progress=False)
print("ready", flush=True)
inferencer({films!r}, {out!r})
"""


def start(code: str, seconds: float | None) -> float:
    """Run code in a process, to its end or for so long after it is ready.

    Returns:
        How long it took once it was ready.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    while "ready" not in (line := process.stdout.readline()):
        assert line, "it ended before it was ready"
    begun = time.monotonic()
    try:
        assert process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    return time.monotonic() - begun


def everything(folder: Path) -> dict[str, bytes]:
    found = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(6):
        write_itk(folder / f"film{number}.nii.gz", moving_disc(9, (96, 128), number))
    return folder


@pytest.fixture(scope="module")
def tiny_run(tiny_configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net with random weights as a run's folder."""
    import torch
    from mmengine.registry import init_default_scope

    from echozoo.engine.config_file import load_config
    from echozoo.registry import MODELS

    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.py").write_text(
        f'_base_ = "{tiny_configs}/unet.py"\n'
        "model = dict(backbone=dict(base_channels=4),\n"
        "             decode_head=dict(in_channels=4, channels=4))\n"
        "test_dataloader = dict(dataset=dict(image_size=(32, 32)))\n"
    )
    cfg = load_config(folder / "tiny.py")
    init_default_scope("echozoo")
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, folder / "best_a_epoch_1.pth")
    return folder


@pytest.mark.parametrize("tool", ["phantom", "cache", "infer"])
def test_killed_and_started_again(tool: str, films, tiny_run, tmp_path: Path, request) -> None:
    def run(out: Path, seconds: float | None = None) -> float:
        return start(code.format(films=str(films), run=str(tiny_run), out=str(out)), seconds)

    rng = np.random.default_rng(request.config.getoption("--mutation-seed"))
    kills = request.config.getoption("--kills")
    code = {"phantom": PHANTOM, "cache": CACHE, "infer": INFER}[tool]
    seconds = run(tmp_path / "whole")
    whole = everything(tmp_path / "whole")
    assert len(whole) > 5
    out = tmp_path / "killed"
    for number in range(kills):
        if number % 3 == 0:  # some are killed again before they are whole
            out = tmp_path / f"killed{number}"
        run(out, float(rng.uniform(0, seconds)))
        if number % 3 == 2 or number == kills - 1:
            run(out)
            found = everything(out)
            assert sorted(found) == sorted(whole)
            assert found == whole
