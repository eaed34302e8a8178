"""A process apart reads: what it meets there is one line, and the next file is read."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from film_files import moving_disc, write_itk, write_video
from PIL import Image

from echozoo.errors import DataError, StorageError
from echozoo.films import apart
from echozoo.films.apart import open_film_apart
from echozoo.films.film import open_film
from echozoo.films.io import read_volume

FRAMES = moving_disc(12, (40, 60))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_itk(tmp_path / "film.nii.gz", FRAMES)


def test_films_are_those_of_this_process(tmp_path: Path, film: Path) -> None:
    paths = [film, tmp_path / "film.mp4", tmp_path / "still.png"]
    write_video(paths[1], FRAMES)
    Image.fromarray(FRAMES[0]).save(paths[2])
    for path in paths:
        there, here = open_film_apart(path), open_film(path)
        np.testing.assert_array_equal(there.frames(), here.frames())
        np.testing.assert_array_equal(there.frames(0, 1), here.frames(0, 1))
        for name in ("name", "path", "num_frames", "size", "spacing", "geometry", "notes"):
            assert getattr(there, name) == getattr(here, name)
    assert open_film_apart(film, (2.0, 3.0), 40.0).spacing == (2, 3)
    there, here = apart.apart(read_volume, film), read_volume(film)
    np.testing.assert_array_equal(there.array, here.array)
    assert there.spacing == here.spacing
    np.testing.assert_array_equal(open_film_apart(FRAMES).frames(), FRAMES)


def test_a_film_of_many_blocks(tmp_path: Path) -> None:
    frames = moving_disc(130, (256, 512))  # 16 MB: three blocks
    film = open_film_apart(write_itk(tmp_path / "long.nii", frames))
    np.testing.assert_array_equal(film.frames(), frames)


def test_relative_paths_are_those_of_the_folder_one_is_in(film: Path, monkeypatch) -> None:
    apart.warm_up()
    monkeypatch.chdir(film.parent)
    assert open_film_apart(film.name).num_frames == 12


def test_errors_of_ours_are_the_same(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.nii", tmp_path):
        with pytest.raises(DataError) as here:
            open_film(path)
        with pytest.raises(DataError) as there:
            open_film_apart(path)
        assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (ctypes.string_at, [0], "0: the process that read it crashed (SIGSEGV)"),
        (operator.truediv, [1, 0], "1: not readable (ZeroDivisionError: division by zero); copy"),
        (operator.mul, ["film", 10**11], "film: needs more than 6 GB"),
        (sys.exit, ["film"], "film: not readable (SystemExit: film)"),
    ],
    ids=["crash", "exception", "memory", "exit"],
)
def test_whatever_reading_does(function, arguments, words, film: Path) -> None:
    with pytest.raises(DataError) as caught:
        apart.apart(function, *arguments)
    assert str(caught.value).startswith(words)
    assert len(str(caught.value).splitlines()) == 1
    assert open_film_apart(film).num_frames == 12  # and the next one is read


def test_what_hangs_is_stopped(film: Path, monkeypatch) -> None:
    monkeypatch.setenv("ECHOZOO_READ_SECONDS", "0.3")
    apart._stop()
    start = time.monotonic()
    with pytest.raises(DataError, match="500: reading it went on for too long"):
        apart.apart(time.sleep, 500)
    assert time.monotonic() - start < 30
    monkeypatch.delenv("ECHOZOO_READ_SECONDS")
    assert open_film_apart(film).num_frames == 12


def test_a_crash_is_the_fault_of_one_file(film: Path) -> None:
    """A process whose memory an earlier file has damaged dies at an innocent one."""
    process = apart._reader().start()
    open_film_apart(film)
    os.kill(process.pid, signal.SIGKILL)
    apart._reader()._process.returncode = None
    apart._reader()._process.poll = lambda: None  # its death is not known yet
    assert open_film_apart(film).num_frames == 12


def test_no_place_for_the_frames(film: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        open_film_apart(film)
    monkeypatch.undo()
    assert open_film_apart(film).num_frames == 12  # while the error is still held
    assert caught.value


def _read(path: Path, queue) -> None:
    queue.put((open_film_apart(path).num_frames, apart._reader()._process.pid))


def test_a_forked_process_has_its_own(film: Path) -> None:
    open_film_apart(film)
    mine = apart._reader()._process.pid
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_read, args=(film, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert [frames for frames, _ in found] == [12, 12]
    assert len({mine, *(pid for _, pid in found)}) == 3
    assert open_film_apart(film).num_frames == 12
    assert apart._reader()._process.pid == mine


def test_it_ends_with_its_parent_and_runs_no_code_of_the_folder(film: Path) -> None:
    (film.parent / "gdcm.py").write_text("open('ran', 'w')")
    (film.parent / "SimpleITK.py").write_text("open('ran', 'w')")
    code = (
        "import os, sys; sys.path.pop(0); from echozoo.films import apart;"
        "apart.open_film_apart('film.nii.gz'); print(apart._reader()._process.pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    paths = os.pathsep.join([str(Path(apart.__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=film.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    pid = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.05)
    else:
        raise AssertionError("it outlives its parent")
    assert not (film.parent / "ran").exists()


def test_a_reader_that_is_left_alone_goes(film: Path) -> None:
    items = apart._reader().stream(apart.film_in_blocks, film, None, None, {})
    next(items)
    del items
    gc.collect()
    assert open_film_apart(film).num_frames == 12
