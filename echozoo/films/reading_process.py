"""What runs in the process that reads for `echozoo.films.apart`.

It guards itself: an alarm ends it where a file takes too long, a limit on memory makes a header
that lies an error, and it is gone as soon as nobody listens.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from echozoo.errors import DataError, EchoZooError, one_line
from echozoo.films.film import open_film

MEMORY_BYTES = 6 * 2**30
"""The most that the process may allocate."""
PATIENCE = 120.0
"""Seconds that it may take for a file, or for the next frames of it; a second a MB comes on top.
The environment's ECHOZOO_READ_SECONDS sets another number."""
END = StopIteration
"""Comes after the last item of an answer."""

_BLOCK = 2**23  # bytes of frames that are sent at once


def film_in_blocks(
    path: str | Path, spacing: Any, frame_time_ms: Any, options: dict
) -> Iterator[Any]:
    """Yield what a film is, an `EchoFilm` without frames, then its frames, (n, H, W) uint8 each."""
    film = open_film(path, spacing, frame_time_ms, **options)
    yield replace(film, _read=None)
    step = max(1, _BLOCK // (film.size[0] * film.size[1]))
    for start in range(0, film.num_frames, step):
        yield film.frames(start, min(start + step, film.num_frames))


def result_of(path: str | Path, function: Callable, *args: Any) -> Iterator[Any]:
    """Yield what ``function(path, *args)`` returns."""
    yield function(path, *args)


def serve() -> None:
    """Answer requests from standard input on standard output until the parent closes it.

    A request is (current folder, generator function, path, its other arguments); the answer is
    the items that it yields, then `END`, or an `EchoZooError`.
    """
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # what decoders print is no answer
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, in C code too
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    least = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_DATA, (least, most))
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            folder, make, path, *args = pickle.load(requests)
            os.chdir(folder)  # a relative path is the parent's
            for item in _items(make, path, args):
                send(answers, item)


def send(stream: BinaryIO, item: Any) -> None:
    """Write one item."""
    pickle.dump(item, stream, protocol=5)
    stream.flush()


def _items(make: Callable, path: str | Path, args: list) -> Iterator[Any]:
    """The items of an answer, whatever making them raises."""
    seconds = float(os.environ.get("ECHOZOO_READ_SECONDS") or PATIENCE)
    with contextlib.suppress(OSError, ValueError):  # reading it says so better
        seconds += os.path.getsize(path) / 2**20
    items, item = make(path, *args), None
    while item is not END and not isinstance(item, EchoZooError):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            item = next(items, END)
        except EchoZooError as error:
            item = error
        except BaseException as error:  # a file decides what its decoder raises
            item = _foreign(path, error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        yield item


def _foreign(path: str | Path, error: BaseException) -> DataError:
    """One line of ours for an exception of somebody else's."""
    if isinstance(error, MemoryError):
        return DataError(
            f"{path}: needs more than {MEMORY_BYTES // 2**30} GB to be read; damaged, or cut it"
        )
    reason = one_line(" ".join(str(error).split()))[:160]
    return DataError(
        f"{path}: not readable ({type(error).__name__}: {reason}); copy it again, or convert it"
    )
