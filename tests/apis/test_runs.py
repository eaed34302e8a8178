"""Runs over many films: what is done is kept, several processes, a kill."""

from __future__ import annotations

import csv
import json
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from film_files import moving_disc, write_dicom, write_itk
from killing import run_tool
from warm import warm_context

from echozoo.apis.inferencer import EchoInferencer
from echozoo.apis.outcomes import SegmentedFilm, Task
from echozoo.apis.workers import segment_in_workers
from echozoo.errors import ConfigError, DataError
from echozoo.films.io import read_volume


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(6):
        film = moving_disc(3 + number, (40, 48), seed=number)
        write_itk(folder / f"p{number // 2}_{(2, 4)[number % 2]}CH.nii.gz", film)
    (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b")
    (folder / "notes.txt").write_text("no film")
    return folder


def everything_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(unet: Path, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, threads = tmp_path_factory.mktemp("out"), torch.get_num_threads()
    torch.set_num_threads(1)
    EchoInferencer(unet, device="cpu", progress=False)(films, out)
    torch.set_num_threads(threads)
    return out


def test_what_is_done_is_kept_and_what_has_changed_is_made_again(
    unet: Path, films: Path, tmp_path: Path
) -> None:
    film, out = tmp_path / "in/a.nii.gz", tmp_path / "out"
    write_itk(film, moving_disc(3, (40, 48)))
    inferencer = EchoInferencer(unet, device="cpu", progress=False)

    def kept(infer: EchoInferencer = inferencer, **options: object) -> bool:
        return infer(film, out, **options).results[0].kept

    assert not kept()
    before = everything_below(out)
    assert kept()
    assert everything_below(out) == before
    assert not kept(frame_time_ms=30)
    assert not kept()
    (out / "a/labels.nii.gz").unlink()
    assert not kept()
    write_itk(film, moving_disc(3, (40, 48), seed=5))
    assert not kept()
    assert not kept(EchoInferencer(unet, device="cpu", progress=False, view="4CH"))
    assert kept(EchoInferencer(unet, device="cpu", progress=False, view="4CH"))


def test_tables_count_every_file(undisturbed: Path) -> None:
    rows = {
        name: list(csv.DictReader((undisturbed / f"{name}.csv").open()))
        for name in ("films", "studies", "left_out")
    }
    assert [row["film"] for row in rows["films"]] == [
        f"p{n}_{view}CH" for n in range(3) for view in (2, 4)
    ]
    assert [row["patient"] for row in rows["studies"]] == ["p0", "p1", "p2"]
    assert [(row["file"], row["what"]) for row in rows["left_out"]] == [
        ("notes.txt", "left out"),
        ("broken", "failed"),
    ]
    page = (undisturbed / "index.html").read_text()
    assert "<h1>8 files</h1>" in page
    assert page.count("data:image/jpeg;base64,") == 6
    assert "http" not in page, "it loads nothing"


def test_two_workers_make_the_same_bytes_as_one(
    unet: Path, films: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = EchoInferencer(unet, device="cpu", progress=False)(films, tmp_path, workers=2)
    assert [name for name, _ in done.failures] == ["broken"]
    found, wanted = everything_below(tmp_path), everything_below(undisturbed)
    assert list(found) == list(wanted)
    assert [name for name in found if found[name] != wanted[name]] == []
    with pytest.raises(ConfigError, match="workers=2: wanted 1 or more, and a folder"):
        EchoInferencer(unet, device="cpu", progress=False)(films, workers=2)


class Deadly:
    """Ends the process that unpacks it."""

    def __reduce__(self) -> tuple:
        return os._exit, (7,)


def test_a_film_that_kills_a_worker_is_passed_by(unet: Path, films: Path, tmp_path: Path) -> None:
    film = films / "p0_2CH.nii.gz"
    tasks = [
        Task(source, Path(name), tmp_path / name)
        for name, source in (("one", film), ("deadly", Deadly()), ("other", film))
    ]
    options = dict(config=unet, device="cpu")
    outcomes = segment_in_workers(EchoInferencer, options, tasks, 1)
    found = {task.place.name: one for task, one in outcomes}
    assert isinstance(found["deadly"], DataError)
    assert "deadly: the process that segmented it ended (exit status 7)" in str(found["deadly"])
    assert all(isinstance(found[name], SegmentedFilm) for name in ("one", "other"))


def segment(run: Path, films: Path, out: Path) -> None:
    torch.set_num_threads(1)
    EchoInferencer(run, device="cpu", progress=False)(films, out)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(
    unet: Path, films: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at some moment while films are segmented: then again, as if nothing had been."""
    monkeypatch.chdir(tmp_path)
    process = warm_context().Process(target=segment, args=(unet, films, tmp_path / "out"))
    process.start()
    while not list(tmp_path.glob("out/*/summary.json")) and process.is_alive():
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.5))
    process.kill()
    process.join()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/summary.json")}
    status, said = run_tool("infer.py", unet, films, "-o", "out", "--device", "cpu")
    assert status == 1, "one film is broken"
    assert said.count("kept of an earlier run") == len(finished) > 0
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
    found, wanted = everything_below(tmp_path / "out"), everything_below(undisturbed)
    assert list(found) == list(wanted)
    for name in ("films.csv", "studies.csv", "left_out.csv"):
        assert found[name] == wanted[name]


def test_arrays_are_kept_too(unet: Path, tmp_path: Path) -> None:
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    film = moving_disc(3, (40, 48))
    runs = [inferencer(one, tmp_path).results[0].kept for one in (film, film, np.flip(film))]
    assert runs == [False, True, False]


def test_films_in_other_systems(unet: Path, tmp_path: Path) -> None:
    """A DICOM film's grey frames lie on the labels' grid; its masks are a DICOM segmentation."""
    frames = moving_disc(4, (80, 100))
    region = dict(RegionLocationMinX0=20, RegionLocationMinY0=10, RegionLocationMaxX1=79,
                  RegionLocationMaxY1=69, PhysicalDeltaX=0.05, PhysicalDeltaY=0.05)  # fmt: skip
    tags = dict(Modality="US", PatientID="7", StudyInstanceUID="1.2.3", SeriesDescription="A4C")
    (tmp_path / "in").mkdir()
    write_dicom(tmp_path / "in/IM1", frames, region, **tags)
    write_itk(tmp_path / "in/b.nii.gz", frames)
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    inferencer(tmp_path / "in", tmp_path / "out")
    labels, grey = (
        read_volume(tmp_path / f"out/IM1/{name}.nii.gz", label=True) for name in ("labels", "film")
    )
    assert labels.spacing == grey.spacing == pytest.approx((0.5, 0.5))
    inside = np.zeros((80, 100), bool)
    inside[10:70, 20:80] = True
    np.testing.assert_array_equal(grey.array, np.where(inside, frames, 0))
    assert not labels.array[:, ~inside].any()
    assert not (tmp_path / "out/b/film.nii.gz").exists()
    summary = json.loads((tmp_path / "out/IM1/summary.json").read_text())
    assert (summary["view"], summary["patient"], summary["study"]) == ("4CH", "7", "1.2.3")
    hd = pytest.importorskip("highdicom", reason="the extra dicom-objects is not installed")
    done = inferencer(tmp_path / "in", tmp_path / "out", dicom_seg=True, dicom_sr=True)
    assert done.failures == []
    seg = hd.seg.segread(tmp_path / "out/IM1/labels.seg.dcm")
    assert seg.number_of_segments == len(np.unique(labels.array)) - 1
    reports = list((tmp_path / "out").glob("*.sr.dcm"))
    assert len(reports) == sum(study["paired"].startswith("Pat") for study in done.studies.values())
