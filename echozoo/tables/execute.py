"""Running what is left of some runs, as many at a time as there is room for; resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from echozoo.engine import failures
from echozoo.errors import ConfigError, EchoZooError
from echozoo.tables.job import TEST, TRAIN, Job, Workshop, stop
from echozoo.tables.record import read_record
from echozoo.tables.runs import Run

_POLL_S = 0.2


@dataclass(frozen=True)
class Failure:
    """A run that did not reach its end, and why in one line."""

    run: Run
    reason: str


def steps_left(run: Run) -> list[str]:
    """Return what is left to do: training and testing, testing, or nothing.

    Raises:
        ConfigError: It was interrupted, and its config has changed since.
        DataError: Its record cannot be read.
    """
    record = read_record(run.folder)
    if record and record.tested and (run.folder / "results.json").is_file():
        return []
    if run.weights or (record and record.trained):
        return [TEST]
    if record and record.fingerprint != run.fingerprint:
        raise ConfigError(
            f"{run.folder}: its training was interrupted, and {run.config} has changed since; "
            "delete the folder to begin anew"
        )
    return [TRAIN, TEST]


def execute(
    runs: Sequence[Run], workshop: Workshop, show: Callable[[str], None] = print
) -> list[Failure]:
    """Do what is left of some runs, as many at a time as the workshop has room for.

    A run that fails is shown, and the others go on; runs that start from it fail as well. When
    interrupted, running ones are stopped as Ctrl-C stops them: the same call goes on from their
    last checkpoints.

    Args:
        runs: Those that others start from before these.
        workshop: What to run them with.
        show: Takes a line for a person.

    Returns:
        The failures.
    """
    return _Queue(runs, workshop, show).work()


class _Queue:
    def __init__(self, runs: Sequence[Run], workshop: Workshop, show: Callable) -> None:
        self.workshop = workshop
        self.show = show
        self.failures: dict[Run, str] = {}
        self.active: list[Job] = []
        self.waiting: list[tuple[int, Run, list[str]]] = []
        left = []
        for run in runs:
            try:
                steps = steps_left(run)
            except EchoZooError as error:
                steps, self.failures[run] = [], str(error)
                show(f"{run.name}: FAILED: {error}")
            if steps:
                left.append((run, steps))
        self.waiting = [(place, *one) for place, one in enumerate(left)]
        self.total = len(left)
        show(f"{len(runs)} runs, {self.total} of them with something left to do")

    def work(self) -> list[Failure]:
        try:
            while self.waiting or self.active:
                self._start_ready()
                for job in list(self.active):
                    self._look_after(job)
                time.sleep(_POLL_S)
        finally:
            stop(self.active)
        return [Failure(run, reason) for run, reason in self.failures.items()]

    def _start_ready(self) -> None:
        for entry in list(self.waiting):
            place, run, steps = entry
            if len(self.active) >= self.workshop.jobs:
                return
            parent = run.starts_from
            if parent is None or _has_weights(parent):
                self.waiting.remove(entry)
                self._begin(place, run, steps)
            elif parent in self.failures:
                self.waiting.remove(entry)
                self._fail(place, run, f"starts from {parent.name}, which failed")

    def _begin(self, place: int, run: Run, steps: list[str]) -> None:
        try:
            with failures.one_line():
                job = Job(run, steps, self.workshop, place)
        except Exception as error:  # of one model: the others go on
            text = " ".join(str(error).split())
            name = "" if isinstance(error, EchoZooError) else f"{type(error).__name__}: "
            return self._fail(place, run, name + text)
        self.active.append(job)  # first: an interruption finds what has been started
        job.start()
        doing = "testing" if steps[0] == TEST else "training"
        return self._say(place, run, f"{doing} ({run.folder})")

    def _look_after(self, job: Job) -> None:
        ended = job.look()
        if ended is None:
            return
        self.active.remove(job)
        if ended:
            self._fail(job.place, job.run, ended)
        else:
            self._say(job.place, job.run, job.summary())

    def _fail(self, place: int, run: Run, reason: str) -> None:
        self.failures[run] = reason
        self._say(place, run, f"FAILED: {reason}")

    def _say(self, place: int, run: Run, text: str) -> None:
        self.show(f"[{place + 1}/{self.total}] {run.name}: {text}")


def _has_weights(run: Run) -> bool:
    record = read_record(run.folder)
    return bool(record and record.trained)
