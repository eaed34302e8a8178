"""One run in progress: its processes, its log, and its record."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echozoo import run_folder
from echozoo.evaluation.functional.aggregate import ALL, MEAN
from echozoo.tables.lock import claim
from echozoo.tables.record import RunRecord, machine, new_record, read_record
from echozoo.tables.runs import Run

TRAIN, TEST = "train", "test"
_SAVE_S, _STOP_S = 30.0, 20.0
_ERROR = re.compile(r"(error: |[\w.]*(Error|Exception)\b)")


@dataclass(frozen=True)
class Workshop:
    """What runs are made with.

    Attributes:
        tools: Folder of train.py, test.py and dist_train.sh, dist_test.sh.
        data_root: Folder of the data set.
        jobs: Runs at a time.
        gpus: GPUs, and so processes, of each run.
    """

    tools: Path
    data_root: str
    jobs: int = 1
    gpus: int = 1

    @property
    def threads(self) -> int:
        """Threads of each process: the environment's choice, or a fair share of the cores."""
        chosen = os.environ.get("OMP_NUM_THREADS", "")
        if chosen.isdigit() and int(chosen) > 0:
            return int(chosen)
        return max(1, (os.cpu_count() or 1) // (self.jobs * self.gpus))

    def command(self, run: Run, step: str) -> list[str]:
        """Return the command line of a step of a run."""
        name, before = str(run.config), []
        if step == TEST:
            before = [run.weights or str(run.folder)]
        places = ["--data-root", self.data_root, "--work-dir", str(run.folder)]
        options = [*run.options(), *places, *(["--resume"] if step == TRAIN else [])]
        if self.gpus > 1:
            script = str(self.tools / f"dist_{step}.sh")
            return [script, name, *before, str(self.gpus), *options]
        return [sys.executable, str(self.tools / f"{step}.py"), name, *before, *options]

    def environment(self, place: int) -> dict[str, str]:
        """Return the environment of a run.

        Args:
            place: Number of the run: several on one machine need a port each.
        """
        return os.environ | {
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHON": sys.executable,
            "PORT": str(29500 + place),
        }


class Job:
    """A run in progress: its steps, one process after another.

    Args:
        run: The run.
        steps: Those left, `TRAIN` and `TEST`.
        workshop: What to run it with.
        place: Its number among the runs.

    Raises:
        ConfigError: Another process works on the run, or the config's model cannot be built, to
            count its parameters.
    """

    def __init__(self, run: Run, steps: list[str], workshop: Workshop, place: int) -> None:
        self.run, self.steps, self.workshop, self.place = run, list(steps), workshop, place
        self.claim = claim(run.folder)
        try:
            self.record = read_record(run.folder) or new_record(run, workshop.gpus)
        except BaseException:
            self.claim.close()
            raise
        self.record.hardware = machine()
        self.record.threads = workshop.threads
        self.record.jobs, self.record.processes = workshop.jobs, workshop.gpus
        self.process: subprocess.Popen | None = None

    @property
    def log(self) -> Path:
        """File of the step's output."""
        return self.run.folder / f"{self.steps[0]}.log"

    def start(self) -> None:
        """Start the process of the next step."""
        self.record.save(self.run.folder)
        self.counted = time.monotonic()
        with self.log.open("ab") as log:
            self.log_begin = log.tell()
            self.process = subprocess.Popen(
                self.workshop.command(self.run, self.steps[0]),
                env=self.workshop.environment(self.place),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches it once, through `stop`.
                start_new_session=True,
            )

    def look(self) -> str | None:
        """Return None while it runs, "" when all is done, or why it failed."""
        status = self.process.poll()
        if status is None:
            if time.monotonic() - self.counted > _SAVE_S:
                self.save()
            return None
        self.save()
        if status:
            self.claim.close()
            return f"{last_error(self.log, self.log_begin)} (exit status {status}; {self.log})"
        _finish(self.record, self.steps[0], self.run.folder)
        self.record.save(self.run.folder)
        del self.steps[0]
        if not self.steps:
            self.claim.close()
            return ""
        self.start()
        return None

    def save(self) -> None:
        """Write down the time that has passed, so that a lost machine loses seconds of it."""
        now = time.monotonic()
        field = f"{self.steps[0]}_seconds"
        setattr(self.record, field, getattr(self.record, field) + now - self.counted)
        self.counted = now
        self.record.save(self.run.folder)

    def summary(self) -> str:
        """Say what came out, for a person."""
        seconds = self.record.train_seconds
        trained = f"trained in {duration(seconds)}, " if seconds else ""
        tested = duration(self.record.test_seconds)
        return f"Dice {_dice(self.run.folder)}, {trained}tested in {tested}"


def stop(jobs: Sequence[Job]) -> None:
    """Stop runs as Ctrl-C does, then those that do not listen; what they have saved stays."""
    jobs = [job for job in jobs if job.process is not None]
    for job in jobs:
        _signal(job, signal.SIGINT)
    for job in jobs:
        try:
            job.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            _signal(job, signal.SIGKILL)
            job.process.wait()
        job.save()
        job.claim.close()


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


def _signal(job: Job, number: signal.Signals) -> None:
    try:
        os.killpg(job.process.pid, number)
    except ProcessLookupError:  # it has just ended
        return


def _finish(record: RunRecord, step: str, folder: Path) -> None:
    if step == TEST:
        record.tested = True
        return
    last = run_folder.find_checkpoint(folder, best=False)
    record.trained, record.trained_until = True, last.stem if last else ""


def _dice(folder: Path) -> str:
    """Return the mean Dice of a test for the screen."""
    try:
        summaries = json.loads((folder / "results.json").read_text())["summaries"]
        chosen = [s for s in summaries if s["instant"] == s["view"] == ALL]
        (mean,) = [s["estimates"]["dice"]["mean"] for s in chosen if s["structure"] == MEAN]
    except (OSError, ValueError, KeyError):
        return "not measured"
    return "undefined" if mean is None else f"{mean:.3f}"
