"""Reading in a process apart: what crashes or hangs there costs one file, and is named.

The libraries that decode films are large and written in C: a damaged header can end the process
that they run in, or keep it busy for ever. So everything that meets strangers' files calls them
through `open_film_apart` or `apart`. The reading process is started when it is first needed and
again after it has died; it ends with its parent. Frames come through a pipe, which costs some
milliseconds a film.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import echozoo
from echozoo.errors import DataError, EchoZooError
from echozoo.films.film import EchoFilm, open_film
from echozoo.films.readers.source import SpooledFrames
from echozoo.films.reading_process import END, film_in_blocks, result_of, send

# Not `-m`, which would let Python import what lies in the current folder.
_START = (
    "import sys; sys.path[0] = sys.argv[1]; "
    "from echozoo.films.reading_process import serve; serve()"
)


def open_film_apart(
    source: str | Path | np.ndarray,
    spacing: tuple[float, float] | None = None,
    frame_time_ms: float | None = None,
    **options: Any,
) -> EchoFilm:
    """Open a film as `open_film` does, decoding all of it in the reading process.

    Its frames wait in a nameless temporary file of H * W bytes a frame: none of them can fail
    later.

    Args:
        source: As in `open_film`; an array is taken as it is.
        spacing: Likewise.
        frame_time_ms: Likewise.
        **options: Likewise.

    Raises:
        DataError: Whatever reading the file ends in: an error of its own, any other exception, a
            crash, no progress; or there is no place for the frames.
    """
    if isinstance(source, np.ndarray):
        return open_film(source, spacing, frame_time_ms, **options)

    def read() -> EchoFilm:
        items = _reader().stream(film_in_blocks, source, spacing, frame_time_ms, options)
        with contextlib.closing(items):
            film = next(items)
            frames = SpooledFrames(frame for block in items for frame in block)
        return replace(film, _read=frames.read)

    return _name_the_right_file(read)


def apart(function: Callable, path: str | Path, *args: Any) -> Any:
    """Call ``function(path, *args)`` in the reading process and give back what it returns.

    Args:
        function: Of a module, so that the other process finds it by its name.
        path: The file that it reads.
        *args: What pickle takes.

    Raises:
        DataError: As `open_film_apart`.
    """

    def read() -> Any:
        (result,) = _reader().stream(result_of, path, function, *args)
        return result

    return _name_the_right_file(read)


def warm_up() -> None:
    """Start the reading process while this one does something else."""
    _reader().start()


class _CrashedError(DataError):
    """The reading process has died; ``alone`` where it had read nothing else before."""

    def __init__(self, message: str, alone: bool = True) -> None:
        super().__init__(message)
        self.alone = alone


def _name_the_right_file(read: Callable[[], Any]) -> Any:
    """Read; where a process crashes that has read other files before, again in a new one.

    What an earlier file did to the memory may show at a later one.
    """
    try:
        return read()
    except _CrashedError as error:
        if error.alone:
            raise
        return read()


class _Reader:
    """The parent's side: one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._files = 0  # that this process was given

    def start(self) -> subprocess.Popen:
        """The process, started where there is none."""
        if self._process is None or self._process.poll() is not None:
            home = Path(echozoo.__file__).parents[1]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(home)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._files = 0
        return self._process

    def stream(self, make: Callable, path: str | Path, *args: Any) -> Iterator[Any]:
        """The items that ``make(path, *args)`` yields there."""
        with self._lock:
            process, whole = self.start(), False
            self._files += 1
            try:
                send(process.stdin, (os.getcwd(), make, path, *args))
                while (item := pickle.load(process.stdout)) is not END:
                    if isinstance(item, EchoZooError):
                        whole = True
                        raise item
                    yield item
                whole = True
            except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
                raise _died(path, process, alone=self._files == 1) from error
            finally:
                if not whole:  # nobody reads on: what is left of the answer goes with the process
                    self.stop()

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _died(path: str | Path, process: subprocess.Popen, alone: bool) -> DataError:
    code = process.wait()
    if code == -signal.SIGALRM:
        return DataError(
            f"{path}: reading it went on for too long without progress and was stopped; damaged,"
            " or on a disk that does not answer; copy it again, or convert it"
        )
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return _CrashedError(
        f"{path}: the process that read it crashed ({how}): damaged, or of a form that its decoder"
        " does not bear; copy it again, or convert it",
        alone,
    )


_own: _Reader | None = None


def _reader() -> _Reader:
    global _own
    if _own is None:
        _own = _Reader()
    return _own


def _forget() -> None:
    """After a fork: the reading process is the parent's; a child that reads starts its own."""
    global _own
    if _own is not None and _own._process is not None:
        _own._process.stdin.close()
        _own._process.stdout.close()
        _own._process.returncode = 0  # not this process's to wait for
    _own = None


@atexit.register
def _stop() -> None:
    if _own is not None:
        _own.stop()


os.register_at_fork(after_in_child=_forget)
