"""Tools in processes of their own that are killed, or run into a full disk, at chosen moments."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import runpy
import signal
import sys
import traceback
from pathlib import Path

import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from warm import warm_context

ROOT = Path(__file__).resolve().parents[2]
TOY_CONFIG = ROOT / "tests" / "engine" / "toy" / "toy_config.py"
# Errors after each epoch, less is better: 1, 2 and 4 are the best so far, which makes 11 writes of
# checkpoints and 5 validations.
ERRORS = {1: 0.9, 2: 0.7, 3: 0.8, 4: 0.5, 5: 0.6}
MOMENTS = [("write", k) for k in range(1, 12)] + [("validation", k) for k in range(1, 6)]


def run_tool(
    file: str | Path, *arguments: object, prepare: tuple = (), **environment: str
) -> tuple[int, str]:
    """Run a tool in a process of its own.

    Args:
        file: Of tools/, or the path of another.
        arguments: Its command line.
        prepare: A function of a module, which is called first, and its arguments.
        environment: Further variables.

    Returns:
        Its exit status, negative where a signal ended it; and what it printed.
    """
    printed = Path("printed.txt").absolute()
    words = [str(ROOT / "tools" / file), *map(str, arguments)]
    called = (os.getcwd(), words, prepare, str(printed), environment)
    process = warm_context().Process(target=_run, args=called)
    process.start()
    process.join()
    text = printed.read_text()
    printed.unlink()
    return process.exitcode, text


def train(folder: Path, *options: str, kill: tuple[str, int] = ("never", 0)) -> tuple[int, str]:
    """Train the toy for five epochs, with the errors above.

    Args:
        folder: Work folder.
        options: Further ones of tools/train.py.
        kill: ("write", k) half through the k-th write of a checkpoint, ("validation", k) in the
            validation of epoch k, ("file", k) before the k-th change of a file in the folder.
    """
    fixed = [TOY_CONFIG, "--data-root", "x", "--work-dir", folder, *options]
    epochs = ["--cfg-options", "train_cfg.max_epochs=5"]
    return run_tool("train.py", *fixed, *epochs, prepare=(arm, str(folder), *kill))


def state(folder: Path) -> dict[str, str]:
    """Return a digest of the weights in each checkpoint; of other files, that they are there."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".pth":
            weights = torch.load(path, weights_only=True)["state_dict"]
            digest = hashlib.sha256()
            for key in sorted(weights):
                digest.update(weights[key].contiguous().numpy().tobytes())
            found[path.name] = digest.hexdigest()[:8]
        elif path.is_file() and path.name != "last_checkpoint":
            found[path.name] = "there"
    return found


def fill_the_disk() -> None:
    """Let the disk be full in the fourth write of a checkpoint."""
    put, count = LocalBackend.put, []

    def put_some(self, data, path):
        count.append(path)
        if len(count) < 4:
            return put(self, data, path)
        Path(path).write_bytes(data[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    LocalBackend.put = put_some


def limit_files() -> None:
    """Let no file grow over 2000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def arm(folder: str, kind: str, number: int) -> None:
    """See `train`."""
    after_val, put = CheckpointHook.after_val_epoch, LocalBackend.put
    count = {"write": 0, "file": 0}

    def reach(*moment):
        if moment == (kind, number):
            os.kill(os.getpid(), signal.SIGKILL)

    def scored(self, runner, metrics=None):
        reach("validation", runner.epoch)
        metrics["toy/error"] = ERRORS[runner.epoch]
        return after_val(self, runner, metrics)

    def half(self, data, path):
        count["write"] += 1
        if (kind, number) == ("write", count["write"]):
            Path(path).write_bytes(data[: len(data) // 2])
        reach("write", count["write"])
        return put(self, data, path)

    def file_changes(event, arguments):
        changes = event in ("os.rename", "os.remove")
        changes |= event == "open" and any(c in str(arguments[1]) for c in "wax+")
        if changes and str(arguments[0]).startswith(folder):
            count["file"] += 1
            reach("file", count["file"])

    CheckpointHook.after_val_epoch, LocalBackend.put = scored, half
    sys.addaudithook(file_changes)


def _run(folder: str, words: list[str], prepare: tuple, printed: str, variables: dict) -> None:
    os.chdir(folder)
    os.environ.pop("CAMUS_ROOT", None)
    os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", **variables)
    torch.set_num_threads(1)
    with open(printed, "w") as file:
        os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
    sys.argv, status = words, 99
    try:
        if prepare:
            prepare[0](*prepare[1:])
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code)
        status = 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(status)
