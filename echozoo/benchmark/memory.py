"""Peak memory of one side, in a fresh process that nothing else shares."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from echozoo.errors import EchoZooError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """What a process had in memory above what it had after its imports, in bytes.

    Attributes:
        at_rest: Before the first run: weights and inputs.
        peak: The most during a run, what is at rest included. A run before it has filled caches
            and the optimiser's state, and compiled what is to be compiled.
    """

    at_rest: int
    peak: int


def measure_memory(
    make: Callable[[], Callable[[], object]],
    imports: Callable[[], object] | None = None,
    device: str = "cpu",
) -> Memory:
    """Measure how much memory a run takes.

    On a CPU it is the resident memory of the process (the peak's counter is reset before the run
    that counts, where the system allows it); on a GPU what torch has allocated there.

    Args:
        make: Called in the fresh process; returns what is run there. It can be pickled.
        imports: Called before, so that what it imports does not count. It can be pickled.
        device: Where the run computes.

    Raises:
        EchoZooError: The process was ended, most likely for want of memory.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_measure_here, make, imports, device).result()
        except BrokenProcessPool as error:
            raise EchoZooError(
                "the process whose memory was measured has been ended, most likely for want of "
                "memory; choose a smaller --batch, or --no-memory"
            ) from error


def _measure_here(
    make: Callable[[], Callable[[], object]], imports: Callable[[], object] | None, device: str
) -> Memory:
    if imports:
        imports()
    gauge = _GPU() if torch.device(device).type == "cuda" else _Process()
    before = gauge.now()
    run = make()
    gc.collect()
    at_rest = gauge.now() - before
    run()
    gauge.reset()
    run()
    return Memory(at_rest, gauge.peak() - before)


class _GPU:
    """Memory that torch has allocated on the GPU."""

    now = staticmethod(torch.cuda.memory_allocated)
    peak = staticmethod(torch.cuda.max_memory_allocated)
    reset = staticmethod(torch.cuda.reset_peak_memory_stats)


class _Process:
    """Resident memory of this process."""

    def now(self) -> int:
        return _status("VmRSS") if _STATUS.exists() else self.peak()

    def peak(self) -> int:
        if _STATUS.exists():
            return _status("VmHWM")
        import resource

        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else 1024 * largest

    def reset(self) -> None:
        try:
            _CLEAR.write_text("5")  # of Linux: the peak is what is resident now
        except OSError:
            return  # then it is the peak of all that the process has done


def _status(field: str) -> int:
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
