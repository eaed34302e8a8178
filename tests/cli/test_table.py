"""echozoo table as a user starts it: interrupted, resumed, collected."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from echozoo.cli import table as command
from echozoo.models.weight_files import weights_sha256

ROOT = Path(__file__).resolve().parents[2]
TOOL = str(ROOT / "tools" / "run_table.py")

pytestmark = pytest.mark.slow

TABLE = """
title = "A toy"
source = "toy.txt, table 1"
protocol = "None."
dataset = dict(split="files")
measured = ["dice_with_empty_as_0", "dice", "hd95_mm", "tci", "empty"]
published = dict(dice="Dice, %")
compared = ["dice_with_empty_as_0"]
baseline = "thin"
rows = [
    dict(
        name="thin",
        config="unet.py",
        options={"model.backbone.base_channels": 4, "model.decode_head.in_channels": 4},
        published=dict(dice=91.68),
    ),
    dict(name="SAM", config="sam.py", trains=False),
    dict(name="other", config="stored.py", trains=False, options={"model.folder": "masks"}),
]
"""


@pytest.fixture
def run_tool(tmp_path, monkeypatch, capsys) -> Iterator[Callable]:
    """Run the tool in this process: exit status or message, and what it printed."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAMUS_ROOT", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def run(*args: object) -> tuple[int | str, str]:
        monkeypatch.setattr(sys, "argv", ["echozoo table", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        return ended.value.code, "".join(capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def start(folder: Path, *args: object) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "CAMUS_ROOT"}
    return subprocess.Popen(
        [sys.executable, TOOL, *map(str, args)],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "tables").mkdir()
    for name in ("unet", "sam", "stored"):
        (tmp_path / f"{name}.py").write_text(f'_base_ = "{ROOT / "configs" / name}.py"\n')
    path = tmp_path / "tables" / "toy.py"
    path.write_text(TABLE)
    return path


@pytest.fixture
def options(table: Path, phantom: Path) -> list:
    """A small training of eight epochs in this process's own loaders."""
    loaders = [
        f"{part}_dataloader.{key}"
        for part in ("train", "val", "test")
        for key in ("num_workers=0", "persistent_workers=False")
    ]
    return [
        *[table, "--scale", "tiny", "--data-root", phantom, "--data-name", "phantom"],
        *["--dataset", "image_size=(32,32)", "indices=2"],
        *["--cfg-options", "train_cfg.max_epochs=8", "train_cfg.val_interval=8", *loaders],
    ]


def end_of(run: Path) -> tuple[dict, dict]:
    """What a run has come to: its weights and its results."""
    weights = {
        path.name: weights_sha256(torch.load(path, weights_only=True)["state_dict"])
        for path in run.glob("*.pth")
    }
    return weights, json.loads((run / "results.json").read_text())["summaries"]


def test_interrupted_killed_resumed_and_collected(options, phantom, tmp_path, run_tool, request):
    begun = time.monotonic()
    process = start(tmp_path, *options)
    folder = tmp_path / "work_dirs" / "tables" / "tiny" / "phantom"
    while process.poll() is None and not list(folder.glob("unet*/seed0/epoch_*.pth")):
        time.sleep(0.05)
    until_trained = time.monotonic() - begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "SAM: not run: " in out
    assert "interrupted; the same command goes on from the last checkpoints" in out
    (run,) = folder.glob("unet*/seed0")
    record = json.loads((run / "run.json").read_text())
    assert (record["trained"], record["tested"]) == (False, False)
    assert not (run / "results.json").exists()

    draws = random.Random(0)
    for _ in range(request.config.getoption("--kills") // 3):  # of a table that has got further
        process = start(tmp_path, *options)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=draws.uniform(0.4, 1.2) * until_trained)
        process.kill()
        process.communicate()

    status, out = run_tool(*options, "--latex", "-o", "out")
    assert status == 0, out
    assert "resuming from" in (run / "train.log").read_text()
    after = json.loads((run / "run.json").read_text())
    assert (after["trained"], after["trained_until"], after["tested"]) == (True, "epoch_8", True)
    assert after["train_seconds"] > record["train_seconds"]
    assert after["parameters"] == record["parameters"] < 200_000
    assert str(phantom) not in (run / "run.json").read_text()
    text = (tmp_path / "out" / "toy.md").read_text()
    assert "| thin | 1 | " in text
    assert "| 8 epochs |" in text
    assert "- data: phantom, split=files, image_size=(32,32), indices=2: " in text
    assert "SAM: not run: " in text
    assert str(phantom) not in text
    results = json.loads((run / "results.json").read_text())
    (best,) = run.glob("best_*.pth")
    assert (results["sees"], results["checkpoint"]) == ("frame", str(best.relative_to(tmp_path)))
    assert results["checkpoint_sha256"] == hashlib.sha256(best.read_bytes()).hexdigest()
    assert results["train_command"].startswith("echozoo train ")
    summaries = results["summaries"]
    everything = [s for s in summaries if s["instant"] == s["view"] == "all"]
    (mean,) = [s["estimates"] for s in everything if s["structure"] == "mean"]
    assert f"| thin | 1 | {100 * mean['dice_with_empty_as_0']['mean']:.2f}" in text
    assert (tmp_path / "out" / "toy.tex").is_file()

    status, _ = run_tool(*options, "--only-collect", "-o", "again")
    assert status == 0
    assert (tmp_path / "again" / "toy.md").read_text() == text

    assert run_tool(*options, "--work-dirs", "whole")[0] == 0
    (whole,) = (tmp_path / "whole" / "tiny" / "phantom").glob("unet*/seed0")
    assert end_of(run) == end_of(whole)


def test_printed_commands_run_what_is_left_and_stored_masks_need_no_weights(
    table, phantom, tmp_path, run_tool
):
    (tmp_path / "masks").symlink_to(phantom)  # the references themselves, at any scale
    common = [table, "--scale", "tiny", "--data-root", phantom, "--seeds", 0, 1]
    status, out = run_tool(*common, "--print-commands")
    assert status == 0
    names, commands = out.splitlines()[::2], out.splitlines()[1::2]
    assert [name.split("-")[0] for name in names] == ["# unet", "# unet", "# stored"]
    assert not (tmp_path / "work_dirs").exists(), "nothing has run"
    stored = shlex.split(commands[-1])
    assert stored[:2] == ["echozoo", "table"]
    assert stored[-2:] == ["--rows", "other"]

    status, out = run_tool(*stored[2:])
    assert status == 0, out
    assert ": Dice 1.000, tested in " in out
    status, out = run_tool(*common, "--print-commands")
    assert out.splitlines()[1::2] == commands[:-1]
    status, out = run_tool(*common, "--only-collect", "-o", "out")
    assert "| other | 1 | 100.00" in (tmp_path / "out" / "toy.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data-root", "x", "--rows", "thn"], "--rows 'thn': no such row; did you mean thin?"),
        ([], "no data: give --data-root FOLDER or set CAMUS_ROOT"),
        (["--data-root", "x", "--scale", "tinny"], "no scale 'tinny'; did you mean tiny"),
        (["--data-root", "x", "--gpus", "0"], "--gpus: wanted 1 or more"),
    ],
)
def test_what_is_wrong_is_one_line(table, run_tool, options, message):
    status, _ = run_tool(table, *options)
    assert status.startswith("error: ")
    assert message in status
    assert "\n" not in status
