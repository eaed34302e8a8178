"""Killed at any moment and started again, a tool ends as if nothing had been.

`pytest tests/mutator --kills 10` kills each of them ten times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from film_files import moving_disc, write_itk
from warm import warm_context


def make_phantom(films: Path, run: Path, out: Path) -> None:
    from echozoo.phantom import PhantomOptions, write_phantom

    write_phantom(out, PhantomOptions(patients=4, spacing=2.5, frames=(2, 3)))


def fill_cache(films: Path, run: Path, out: Path) -> None:
    from echozoo.films.cache import cached_volume

    for path in sorted(films.iterdir()):
        cached_volume(path, out)


def infer(films: Path, run: Path, out: Path) -> None:
    from echozoo.apis import EchoInferencer

    torch.set_num_threads(1)
    EchoInferencer(run, device="cpu", progress=False)(films, out)


def start(tool: Callable, seconds: float | None, *arguments: Path) -> float:
    """Run a tool in a process, to its end or for so long; return how long it took."""
    process = warm_context().Process(target=tool, args=arguments)
    begun = time.monotonic()
    process.start()
    process.join(seconds)
    took = time.monotonic() - begun
    if process.is_alive():
        process.kill()
        process.join()
    else:
        assert process.exitcode == 0
    return took


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


@pytest.mark.parametrize("tool", [make_phantom, fill_cache, infer])
def test_killed_and_started_again(tool: Callable, films, tiny_run, tmp_path, request) -> None:
    def run(out: Path, seconds: float | None = None) -> float:
        return start(tool, seconds, films, tiny_run, out)

    rng = np.random.default_rng(request.config.getoption("--mutation-seed"))
    kills = request.config.getoption("--kills")
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
