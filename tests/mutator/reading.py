"""Reads films whose names come on standard input, and says what each came to, a line of JSON."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import zlib
from pathlib import Path

import numpy as np

from echozoo.errors import EchoZooError
from echozoo.films.film import EchoFilm, open_film

SECONDS, SILENT = 20, 300
"""Of the processor, after which it hangs; on the clock, where it does not even compute."""


def outcome(path: str) -> dict:
    try:
        film = open_film(path)
        frames = film.frames()
        return {
            "kind": "read",
            "crc": zlib.crc32(np.ascontiguousarray(frames)),
            "shape": list(frames.shape),
            "notes": film.notes,
            "wrong": wrong(film, frames),
        }
    except EchoZooError as error:
        return {"kind": "refused", "message": str(error)}
    except BaseException as error:
        return {"kind": "foreign", "message": f"{type(error).__name__}: {error}"}


def wrong(film: EchoFilm, frames: np.ndarray) -> list[str]:
    """What of a film cannot be so."""
    spacing = film.spacing or (1.0, 1.0)
    times = [film.frame_time_ms or 1.0, film.time_ms(film.num_frames - 1) or 0.0]
    checks = {
        "type": frames.dtype == np.uint8,
        "shape": frames.shape == (film.num_frames, *film.size),
        "spacing": all(np.isfinite(step) and 0.01 <= step <= 10 for step in spacing),
        "times": all(np.isfinite(time) and 0 <= time < 1e9 for time in times),
        "geometry": all(np.isfinite(value) for part in film.geometry for value in part),
        "notes": all(note.isprintable() for note in film.notes),
    }
    return [name for name, right in checks.items() if not right]


def peak_megabytes() -> float:
    """The most memory that this process had; not its parent's, which getrusage takes over."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(SILENT)
        found = outcome(line.rstrip("\n"))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        found["megabytes"] = peak_megabytes()
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
