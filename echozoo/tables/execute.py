"""Doing what is left of some runs, one after the other; resumable."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import echozoo
from echozoo import run_folder
from echozoo.engine import failures
from echozoo.engine.lock import claimed
from echozoo.engine.provenance import machine
from echozoo.errors import ConfigError, EchoZooError
from echozoo.evaluation.functional.aggregate import ALL, MEAN
from echozoo.tables.record import RunRecord, new_record, read_record
from echozoo.tables.runs import Run

TRAIN, TEST = "train", "test"
_SAVE_S, _STOP_S = 30.0, 20.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_ERROR = re.compile(r"(error: |[\w.]*(Error|Exception)\b)")


@dataclass(frozen=True)
class Workshop:
    """What runs are made with.

    Attributes:
        data_root: Folder of the data set.
        gpus: GPUs, and so processes, of each run.
        program: What Python runs: the command echozoo.
    """

    data_root: str
    gpus: int = 1
    program: tuple[str, ...] = ("-m", "echozoo")

    def command(self, run: Run, step: str) -> list[str]:
        """Return the command line of a step of a run; several processes meet at ``PORT``."""
        before = [*self.program, step, str(run.config)]
        if step == TEST:
            before.append(str(run.folder) if run.weights is None else run.weights)
        places = ["--data-root", self.data_root, "--work-dir", str(run.folder)]
        options = [*run.options(), *places, *(["--resume"] if step == TRAIN else [])]
        options += run.test_options([other.folder for other in run.averages])
        if self.gpus > 1:
            port = os.environ.get("PORT", "29500")
            count = [f"--nproc-per-node={self.gpus}", f"--master-port={port}"]
            before = ["-m", "echozoo.engine.torchrun", *count, *before]
            options += ["--launcher", "pytorch"]
        return [sys.executable, *before, *options]

    def environment(self, threads: int) -> dict[str, str]:
        """Return the variables of a step's processes, which find this very package."""
        home = str(Path(echozoo.__file__).parents[1])
        path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        shared = {"OMP_NUM_THREADS": str(threads)} if self.gpus > 1 else {}
        return {**os.environ, "PYTHONPATH": path, **shared}


def steps_left(run: Run) -> list[str]:
    """Return what is left to do: training and testing, testing, or nothing.

    Raises:
        ConfigError: It was interrupted, and its config has changed since.
        DataError: Its record cannot be read.
    """
    record = read_record(run.folder)
    if record and record.tested and (run.folder / "results.json").is_file():
        return []
    if run.weights is not None or (record and record.trained):
        return [TEST]
    if record and record.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{run.folder}: its training was interrupted, and {run.config} has changed since; "
            "delete the folder to begin anew"
        )
    return [TRAIN, TEST]


def execute(
    runs: Sequence[Run], workshop: Workshop, show: Callable[[str], None] = print
) -> dict[Run, str]:
    """Do what is left of some runs, in their order.

    A run that fails is shown, and the others go on; runs that start from it fail as well. When
    interrupted, the one in progress is stopped as Ctrl-C stops it: the same call goes on from its
    last checkpoint.

    Returns:
        Why they failed, in one line each, of those that did.
    """
    failed: dict[Run, str] = {}
    for place, run in enumerate(runs, start=1):
        name = f"[{place}/{len(runs)}] {run.name}"
        try:
            steps = steps_left(run)
            for needed in run.needs:
                if needed in failed and TRAIN in steps_left(needed):
                    how = "averages" if run.averages else "starts from"
                    raise EchoZooError(f"{how} {needed.name}, which failed")
            if steps:
                busy = f"{run.folder}: another `echozoo table` works on this run; let it end, or"
                with claimed(run.folder / ".table", f"{busy} choose other --rows"):
                    for step in steps:
                        show(f"{name}: {step}ing ({run.folder})")
                        record = _do(run, step, workshop)
                show(f"{name}: {_summary(run, record)}")
        except Exception as error:  # of one model: the others go on
            text = " ".join(str(error).split())
            kind = "" if isinstance(error, EchoZooError) else f"{type(error).__name__}: "
            failed[run] = kind + text
            show(f"{name}: FAILED: {failed[run]}")
    return failed


def _do(run: Run, step: str, workshop: Workshop) -> RunRecord:
    """Run a step to its end; its time is written down as it passes, and added to earlier ones.

    Raises:
        EchoZooError: It has failed.
    """
    with failures.one_line():
        record = read_record(run.folder) or new_record(run, workshop.gpus)
    record.hardware, record.processes = machine(), workshop.gpus
    cores = (os.cpu_count() or 1) // workshop.gpus
    record.threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, cores))
    record.save(run.folder)
    log = run.folder / f"{step}.log"
    with log.open("ab") as file:
        begin = file.tell()
        process = subprocess.Popen(
            workshop.command(run, step),
            env=workshop.environment(record.threads),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it once, through `_stop`
            preexec_fn=_end_with_parent,
        )
    try:
        while process.poll() is None:
            _wait(process, _SAVE_S, record, step, run.folder)
    except BaseException:
        _stop(process)
        raise
    if process.returncode:
        status = f"exit status {process.returncode}; {log}"
        raise EchoZooError(f"{last_error(log, begin)} ({status})")
    if step == TRAIN:
        last = run_folder.find_checkpoint(run.folder, best=False)
        record.trained, record.trained_until = True, last.stem if last else ""
    else:
        record.tested = True
    record.save(run.folder)
    return record


def _end_with_parent() -> None:
    """Let the step end when this process is killed; it would go on unseen (Linux only)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(
    process: subprocess.Popen, seconds: float, record: RunRecord, step: str, folder: Path
) -> None:
    """Wait for a process at most so long, and save how long that was."""
    begin, field = time.monotonic(), f"{step}_seconds"
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        setattr(record, field, getattr(record, field) + time.monotonic() - begin)
        record.save(folder)


def _stop(process: subprocess.Popen) -> None:
    """Stop a process and its own as Ctrl-C does, or at once where it does not listen."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            continue


def last_error(log: Path, begin: int = 0) -> str:
    """Return the last line of a log that begins as an error does, else its last line.

    Args:
        log: The file.
        begin: Where to begin, in bytes: what stands before is of an earlier attempt.
    """
    text = log.read_bytes()[begin:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return [*errors[-1:], *lines[-1:], "no message"][0]


def duration(seconds: float) -> str:
    """Say a time for a person: 12 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _summary(run: Run, record: RunRecord) -> str:
    """Say what came out, for a person."""
    trained = f"trained in {duration(record.train_seconds)}, " if record.train_seconds else ""
    return f"Dice {_dice(run.folder)}, {trained}tested in {duration(record.test_seconds)}"


def _dice(folder: Path) -> str:
    """Return the mean Dice of a test for the screen."""
    try:
        summaries = json.loads((folder / "results.json").read_text())["summaries"]
        chosen = [s for s in summaries if s["instant"] == s["view"] == ALL]
        (mean,) = [s["estimates"]["dice"]["mean"] for s in chosen if s["structure"] == MEAN]
    except (OSError, ValueError, KeyError):
        return "not measured"
    return "undefined" if mean is None else f"{mean:.3f}"
