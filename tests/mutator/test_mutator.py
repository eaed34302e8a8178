"""Whatever a file holds, reading it gives a sane film or one line that names the file.

`pytest tests/mutator --mutations 5000 --mutation-seed 7` tries more than the suite does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mutate import mutate, mutate_packed, whole_films

ROOT = Path(__file__).resolve().parents[2]
LIMIT_GB, LIMIT_MB = 0.25, 1500
"""What a film may take, and a process that reads it: grey levels, the values they are made of,
their file, and the libraries."""


class Reader:
    """A process that reads; a new one where it has died.

    Args:
        fill: What malloc writes into memory that it gives out: results that depend on it were
            never read from the file.
    """

    def __init__(self, fill: int) -> None:
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "MALLOC_PERTURB_": str(fill),
            "ECHOZOO_MAX_FILM_GB": str(LIMIT_GB),
        }
        self.process: subprocess.Popen | None = None

    def read(self, path: Path) -> dict:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("reading.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self.environment,
            )
        print(path, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if line:
            found = json.loads(line)
            if found["megabytes"] > LIMIT_MB:
                self.close()  # its most is not the next file's
            return found
        code = self.process.wait()
        self.close()
        hangs = -code in (signal.SIGPROF, signal.SIGALRM)
        return {"kind": "hang" if hangs else "crash", "message": str(code)}

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def readers() -> Iterator[tuple[Reader, Reader]]:
    both = Reader(17), Reader(238)
    yield both
    for reader in both:
        reader.close()


def verdict(path: Path, found: dict, again: dict, whole: dict, ways: str) -> str:
    """What is wrong with how a file was read; "" where nothing is."""
    if found["kind"] not in ("read", "refused"):
        return f"{found['kind']}: {found['message']}"
    if found["megabytes"] > LIMIT_MB:
        return f"{found['megabytes']:.0f} MB of memory"
    if found["kind"] == "refused":
        message = found["message"]
        if path.stem not in message:
            return f"names another file: {message}"
        return "" if message.isprintable() else f"not one line: {message!r}"
    if {**found, "megabytes": 0} != {**again, "megabytes": 0}:
        return "what is read depends on what was in memory"
    if found["wrong"]:
        return f"cannot be so: {', '.join(found['wrong'])}"
    lost = found["shape"][0] < whole["shape"][0] and ways == "cut"
    return "frames are missing without a note" if lost and found["notes"] == whole["notes"] else ""


def test_mutated_films(tmp_path: Path, readers, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--mutations")
    rng = np.random.default_rng(request.config.getoption("--mutation-seed"))
    films = whole_films(tmp_path / "whole")
    wholes = {name: readers[0].read(path) for name, path in films.items()}
    assert {one["kind"] for one in wholes.values()} == {"read"}, wholes
    kinds: Counter[str] = Counter()
    bad = []
    for number in range(count):
        name = list(films)[number % len(films)]
        data = films[name].read_bytes()
        inside = name.endswith(".gz") and rng.random() < 0.7
        ways, changed = (mutate_packed if inside else mutate)(data, rng)
        path = tmp_path / f"{number:05d}_{name}"
        raw = films[name].with_suffix(".raw")
        if name.endswith(".mhd"):  # either of its two files is damaged
            where = path.with_suffix(".raw")
            header = data.replace(raw.name.encode(), where.name.encode())
            if rng.random() < 0.3:
                ways, changed = mutate(raw.read_bytes(), rng)
                where.write_bytes(changed)
                changed = header
            else:
                where.write_bytes(raw.read_bytes())
                ways, changed = mutate(header, rng)
        path.write_bytes(changed)
        found = readers[0].read(path)
        again = readers[1].read(path) if found["kind"] == "read" else found
        kinds[found["kind"]] += 1
        what = verdict(path, found, again, wholes[name], ways)
        if what:
            bad.append(f"{path.name} ({ways}): {what}")
        else:
            path.unlink()
            path.with_suffix(".raw").unlink(missing_ok=True)
    report = "\n".join([f"{len(bad)} of {count} (files in {tmp_path}); {dict(kinds)}", *bad])
    assert not bad, report
    assert kinds["read"] > count / 20
    assert kinds["refused"] > count / 5
