"""A run's folder cannot be damaged, and is all that a test needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killing import TOY_CONFIG, fill_the_disk, limit_files, run_tool, train
from mmengine.config import Config

HOLDER = """
import sys
from pathlib import Path
from echozoo.engine.lock import claimed
with claimed(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """A user's folder with a toy of two sizes, and the module of its parts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAMUS_ROOT", raising=False)
    (tmp_path / "toy_parts.py").write_text((TOY_CONFIG.parent / "toy_parts.py").read_text())
    for name, width in (("toy", 4), ("other", 6)):
        text = f"_base_ = {str(TOY_CONFIG)!r}\nmodel = dict(width={width})\n"
        (tmp_path / f"{name}.py").write_text(f"{text}scales = dict(tiny=dict(model=dict(width=2)))")


@pytest.fixture
def run() -> Path:
    """A run at the scale tiny."""
    assert run_tool("train.py", "toy.py", "--scale", "tiny", "--data-root", "x")[0] == 0
    return Path("work_dirs/toy_tiny")


def tree(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


def test_a_runs_folder_is_all_that_a_test_needs(run):
    config = (run / "toy.py").read_text()
    assert Config.fromfile(run / "toy.py", import_custom_modules=False).model.width == 2
    (run / "newest.py").write_text("import os\nos.mkdir('ran')\n")  # somebody's script, no config
    for arguments in ([run], [run / "epoch_2.pth"], ["toy.py", run, "--scale", "tiny"]):
        status, said = run_tool("test.py", *arguments, "--data-root", "x")
        assert status == 0, said
        assert "toy/error" in said
    assert run_tool("test.py", run, "--scale", "tiny")[0] == 0
    assert (run / "toy.py").read_text() == config, "a test leaves it as it is"
    assert len((run / "toy.csv").read_text().splitlines()) == 8
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toy.py", "RUN"], "RUN was trained with --scale tiny; echozoo test RUN needs neither"),
        (["other.py", "RUN"], "RUN was trained with toy.py and with --scale tiny; echozoo test"),
        (["toy.py", "RUN/epoch_2.pth"], "RUN was trained with --scale tiny"),
        (["RUN", "--scale", "huge"], "RUN/toy.py was trained with --scale tiny; leave it out"),
    ],
)
def test_the_wrong_config_or_scale_changes_nothing(run, arguments, message):
    before = tree(Path())
    arguments = [word.replace("RUN", str(run)) for word in arguments]
    status, said = run_tool("test.py", *arguments, "--data-root", "x")
    assert status == 1
    assert message.replace("RUN", str(run)) in said
    assert said.count("\n") == 1, said
    assert tree(Path()) == before


def test_the_wrong_scale_is_not_resumed(run):
    before = tree(run)
    options = ["--data-root", "x", "--work-dir", run, "--resume"]
    status, said = run_tool("train.py", "toy.py", *options)
    assert status == 1
    assert f"{run} was trained with --scale tiny" in said
    assert tree(run) == before


def test_checkpoints_of_two_trainings_are_not_mixed(run):
    before = tree(run)
    again = ["toy.py", "--scale", "tiny", "--data-root", "x"]
    status, said = run_tool("train.py", *again)
    assert status == 1
    assert f"{run}: holds epoch_2.pth of an earlier training: go on with --resume" in said
    assert tree(run) == before
    assert run_tool("train.py", *again, "--resume")[0] == 0

    # In another folder: the first one keeps its files, the second gets a best one of its own.
    before = tree(run)
    more = ["--resume", run, "--work-dir", "second", "--cfg-options", "train_cfg.max_epochs=4"]
    assert run_tool("train.py", *again, *more)[0] == 0
    assert tree(run) == before
    assert len(list(Path("second").glob("best_*.pth"))) == 1


def test_a_second_training_in_the_folder_is_refused():
    folder = Path("run")
    folder.mkdir()
    lock = str(folder / ".training")
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    first = subprocess.Popen([sys.executable, "-c", HOLDER, lock], **pipes)
    assert first.stdout.readline() == b"held\n"
    status, said = train(folder)
    assert status == 1
    assert "run: another training works in this folder; let it end, or choose --work-dir" in said
    assert os.listdir(folder) == [".training"]
    first.kill()
    first.wait()
    assert train(folder)[0] == 0


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path):
    folder = tmp_path / "run"
    assert train(folder)[0] == 0
    last = folder / "epoch_5.pth"
    last.write_bytes(last.read_bytes()[:2000])
    status, said = train(folder, "--resume")
    assert status == 0, said
    assert f"{last}: damaged: cut off" in said
    assert f"resuming from {folder / 'epoch_4.pth'}" in said


def test_weights_that_are_no_numbers_are_refused(run):
    path = run / "epoch_2.pth"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["decoder.1.bias"][0] = torch.nan
    torch.save(content, path)
    status, said = run_tool("test.py", path)
    assert status == 1
    assert "NaN or infinite numbers in 1 of 4 tensors (decoder.1.bias)" in said


def test_a_full_disk_is_one_line_and_leaves_whole_files():
    options = ["toy.py", "--data-root", "x", "--work-dir", "run"]
    status, said = run_tool("train.py", *options, prepare=(fill_the_disk,))
    assert status == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1] == (
        f"error: {Path('run/epoch_2.pth').absolute()}: cannot be written (No space left on device)"
        ": make room; what is left is run/epoch_1.pth: then go on with --resume"
    )
    assert sorted(path.name for path in Path("run").glob("*.pth")) == [
        "best_toy_error_epoch_1.pth",
        "epoch_1.pth",
    ]
    assert not list(Path("run").glob(".*.part"))
    assert run_tool("train.py", *options, "--resume")[0] == 0


def test_files_that_may_not_grow_are_one_line():
    """The log reaches the limit first: no traceback a line, as logging would print."""
    options = ["toy.py", "--data-root", "x", "--work-dir", "run"]
    status, said = run_tool("train.py", *options, prepare=(limit_files,))
    assert status == 1
    assert "Traceback" not in said
    assert "cannot be written (File too large): let files be larger" in said.splitlines()[-1]
    assert not list(Path("run").glob("*.p*"))


def test_a_folder_that_cannot_be_made_is_one_line():
    Path("file").touch()
    status, said = run_tool("train.py", "toy.py", "--data-root", "x", "--work-dir", "file/run")
    assert status == 1
    assert "file/run: cannot be written (Not a directory): choose a --work-dir" in said
    assert said.count("\n") == 1
