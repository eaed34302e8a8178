"""Films segmented by several processes; one that a film kills costs that film alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from echozoo.apis.outcomes import SegmentedFilm, Task, portable
from echozoo.errors import DataError, EchoZooError, StorageError

Outcome = SegmentedFilm | EchoZooError


def segment_in_workers(
    make: Callable[..., Any], options: Mapping[str, Any], tasks: Sequence[Task], count: int
) -> Iterator[tuple[Task, Outcome]]:
    """Segment films in processes of their own.

    Args:
        make: Makes an `EchoInferencer` in each process, which gets its share of the threads.
        options: What with.
        tasks: Films, each with a folder.
        count: Processes.

    Yields:
        Each film that was come to, with its summary or why it failed, in the order in which they
        are done. After a `StorageError` that says that the disk is full no film is begun.

    Raises:
        EchoZooError: A process cannot be started.
    """
    left = list(reversed(tasks))
    workers = [_Worker(make, options, count) for _ in range(min(count, len(tasks)))]
    try:
        for worker in workers:
            worker.begin(left.pop())
        while busy := [worker for worker in workers if worker.task is not None]:
            ready = wait([worker.answers for worker in busy])
            for worker in [worker for worker in busy if worker.answers in ready]:
                task, outcome = worker.task, worker.outcome()
                if isinstance(outcome, StorageError) and outcome.full:
                    left.clear()
                if left:
                    worker.begin(left.pop())
                yield task, outcome
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process, and the film that it is at."""

    def __init__(self, make: Callable, options: Mapping[str, Any], share: int) -> None:
        self._make, self._options, self._share = make, dict(options), share
        self.task: Task | None = None
        self._start()

    def begin(self, task: Task) -> None:
        """Give it a film."""
        if not self._process.is_alive():
            self._start()
        self.task = task
        with contextlib.suppress(BrokenPipeError):  # it has just died: the answer says so
            self.answers.send(task)

    def outcome(self) -> Outcome:
        """What became of its film."""
        task, self.task = self.task, None
        try:
            return self.answers.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            return DataError(
                f"{task.place}: the process that segmented it ended ({how}): out of memory, or a"
                " fault of this film; try it alone"
            )

    def stop(self) -> None:
        """End it, whatever it is at; results that are not whole leave nothing."""
        self.answers.close()
        self._process.terminate()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the parent's threads
        self.answers, theirs = context.Pipe()
        arguments = (theirs, self._make, self._options, self._share)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()


def _work(tasks: Connection, make: Callable, options: dict[str, Any], share: int) -> None:
    """Segment films as they come, until nobody sends any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // share))
    inferencer = make(**options, progress=False)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            task = tasks.recv()
            try:
                outcome = inferencer.film(task)
            except Exception as error:
                outcome = error
            tasks.send(portable(outcome))
