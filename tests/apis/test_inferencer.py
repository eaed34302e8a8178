from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from film_files import moving_disc, write_dicom, write_itk, write_video
from PIL import Image
from scipy import ndimage

from echozoo.apis import writers
from echozoo.apis.inferencer import EchoInferencer
from echozoo.apis.loading import load_model
from echozoo.apis.predicting import label_film
from echozoo.apis.prompt_files import read_prompts
from echozoo.errors import ConfigError, DataError
from echozoo.evaluation.functional.disks import chamber_area
from echozoo.evaluation.functional.ejection_fraction import find_ed_es
from echozoo.films.film import open_film

FILM = moving_disc(9, (40, 48))
CLICK = {
    "frame": 4,
    "lv": {"point": [24, 20]},
    "la": {"points": [[20, 22], [1, 1]], "labels": [1, 0]},
}


def write_mixed(folder: Path) -> dict[str, tuple]:
    """A folder of mixed formats, and for each film (T, H, W) and spacing (dy, dx)."""
    write_itk(folder / "a" / "odd.nii.gz", FILM, odd=True)
    write_itk(folder / "a" / "flat.nii", FILM[0])
    write_itk(folder / "a" / "odd_gt.nii.gz", FILM, odd=True)
    write_itk(folder / "b" / "aniso.mhd", FILM[:3])
    region = dict(PhysicalDeltaX=0.03, PhysicalDeltaY=0.05)
    write_dicom(folder / "b" / "IM0001", FILM[:5], region, FrameTime="20")
    write_video(folder / "clip.mp4", FILM)
    Image.fromarray(FILM[0]).save(folder / "clip.png")
    (folder / "README.md").write_text("no film")
    return {
        "a/odd": ((9, 40, 48), (0.154, 0.31)),
        "a/flat": ((1, 40, 48), (0.154, 0.31)),
        "b/aniso": ((3, 40, 48), (0.154, 0.31)),
        "b/IM0001": ((5, 40, 48), (0.5, 0.3)),
        "clip.mp4": ((9, 40, 48), None),
        "clip.png": ((1, 40, 48), None),
    }


@pytest.fixture(scope="module")
def results(unet: Path, tmp_path_factory: pytest.TempPathFactory):
    folder, out = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("out")
    wanted = write_mixed(folder)
    for name, data in {"half.dcm": b"x" * 300, "b/empty.nii.gz": b""}.items():
        (folder / name).write_bytes(data)
    done = EchoInferencer(unet, device="cpu", batch_size=4, progress=False)(folder, out, mp4=True)
    return folder, out, wanted, done


def test_a_folder_of_mixed_formats(results) -> None:
    folder, out, wanted, done = results
    assert {str(r.folder.relative_to(out)) for r in done.results} == set(wanted)
    assert {name for name, _ in done.left_out.files} == {
        "README.md",
        "a/odd_gt.nii.gz",
        "b/aniso.raw",
    }
    reasons = dict(done.failures)
    assert set(reasons) == {"b/empty", "half"}
    assert "empty file" in reasons["b/empty"]
    assert "of no known kind" in reasons["half"]
    for result in done.results:
        shape, spacing = wanted[str(result.folder.relative_to(out))]
        assert (result.film.num_frames, *result.film.size) == shape
        assert result.film.spacing == (spacing and pytest.approx(spacing))


@pytest.mark.parametrize("name", ["a/odd", "a/flat", "b/aniso"])
def test_masks_have_the_geometry_of_their_source(results, name: str) -> None:
    folder, out, _, _ = results
    source = next(p for p in folder.glob(f"{name}.*") if p.suffix != ".raw")
    image, labels = sitk.ReadImage(str(source)), sitk.ReadImage(str(out / name / "labels.nii.gz"))
    assert labels.GetSize() == image.GetSize()
    assert labels.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    for get in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(labels, get)() == pytest.approx(getattr(image, get)(), abs=1e-5)


def test_masks_of_films_that_lie_nowhere(results) -> None:
    _, out, _, _ = results
    labels = sitk.ReadImage(str(out / "b/IM0001/labels.nii.gz"))
    assert labels.GetSize() == (48, 40, 5)
    assert labels.GetSpacing()[:2] == pytest.approx((0.3, 0.5))
    assert sitk.ReadImage(str(out / "clip.mp4/labels.nii.gz")).GetSpacing()[:2] == (1, 1)


def test_labels_are_those_of_the_model(results, unet: Path) -> None:
    folder, out, _, _ = results
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "a/odd/labels.nii.gz")))
    predicted = load_model(unet, device="cpu").predict(FILM).pred_labels.numpy()
    np.testing.assert_array_equal(written, predicted)
    assert len(np.unique(written)) > 1


def test_tables_and_summaries(results) -> None:
    _, out, _, done = results
    rows = list(csv.DictReader((out / "b/IM0001/frames.csv").open()))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "b/IM0001/labels.nii.gz")))
    assert [row["time_ms"] for row in rows] == ["0", "20", "40", "60", "80"]
    for row, frame in zip(rows, labels, strict=True):
        for value, name in enumerate(("lv", "myo", "la"), start=1):
            area = (frame == value).sum() * 0.5 * 0.3 / 100
            assert float(row[f"{name}_area_cm2"]) == pytest.approx(area, rel=1e-4)
    summary = json.loads((out / "b/IM0001/summary.json").read_text())
    assert (summary["frames"], summary["spacing_mm"], summary["frame_time_ms"]) == (
        5,
        [0.5, 0.3],
        20,
    )
    assert len(summary["checkpoint_sha256"]) == 64
    lv = np.array([chamber_area(frame == 1) for frame in labels])  # of the largest piece
    if summary["ed_frame"] is not None:
        assert (summary["ed_frame"], summary["es_frame"]) == find_ed_es(lv)
    header = (out / "clip.mp4/frames.csv").read_text().splitlines()[0]
    assert "lv_area_px2" in header
    assert "ml" not in header
    notes = json.loads((out / "clip.mp4/summary.json").read_text())["notes"]
    assert "no spacing known: pixels reported, no ml" in notes


def test_pictures_and_films(results) -> None:
    _, out, _, _ = results
    with Image.open(out / "a/odd/overlay.gif") as gif:
        assert gif.n_frames == 9
    assert (out / "a/odd/curves.png").stat().st_size > 5000
    assert (out / "a/flat/overlay.png").exists()
    assert not (out / "a/flat/curves.png").exists()
    assert open_film(out / "a/odd/overlay.mp4").num_frames == 9
    lines = (out / "a/odd/labels.txt").read_text().splitlines()
    assert lines[-3].split()[:4] == ["1", "213", "94", "0"]
    assert '"left atrium"' in lines[-1]


def test_a_second_run_does_not_take_results_for_films(results, unet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_itk(folder / "one.nii.gz", FILM[:2])
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    for _ in range(2):
        done = inferencer(folder, folder / "out")
        assert [r.folder.name for r in done.results] == ["one"]
    assert done.results[0].kept
    assert [r.film.name for r in inferencer(folder).results] == ["one"]


def test_arrays_and_lists(unet: Path, tmp_path: Path) -> None:
    inferencer = EchoInferencer(unet, device="cpu", batch_size=4, progress=False)
    done = inferencer([FILM, FILM[0], write_itk(tmp_path / "x.nii", FILM)], tmp_path / "out")
    names = [r.folder.name for r in done.results]
    assert names == ["array", "array_2", "x"]
    alone = inferencer(FILM, spacing=(1.0, 2.0)).results[0]
    assert alone.folder is None
    labels = alone.labels.read()
    np.testing.assert_array_equal(labels, load_model(unet).predict(FILM).pred_labels.numpy())
    np.testing.assert_allclose(alone.measures.areas[:, 2], (labels == 3).sum((1, 2)) * 0.02)


def test_nothing_to_do(unet: Path, tmp_path: Path) -> None:
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    with pytest.raises(DataError, match="no films in this folder"):
        inferencer(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        inferencer(tmp_path / "absent.nii")
    with pytest.raises(DataError, match="nothing given"):
        inferencer([])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="out: cannot be written .Not a directory"):
        inferencer(FILM, tmp_path / "file" / "out")


@pytest.mark.parametrize(("length", "batch"), [(1, 3), (3, 3), (4, 2), (9, 4), (10, 3)])
def test_temporal_models_get_whole_clips(automatic: Path, length: int, batch: int) -> None:
    loaded = load_model(automatic, device="cpu")
    film, seen = open_film(moving_disc(length, (40, 48))), []

    class Sample:
        def __init__(self, frames) -> None:
            import torch

            self.pred_labels = torch.as_tensor((frames > 120).astype(np.uint8))

    loaded.predict = lambda frames, spacing, places: seen.append(places) or Sample(frames)
    labels = dict(label_film(loaded, film, batch_size=batch))
    assert list(labels) == list(range(length))
    assert all(len(places) == 4 for places in seen)
    np.testing.assert_array_equal(np.stack(list(labels.values())), film.frames() > 120)


def test_smoothing_over_time_does_not_see_the_chunks(unet: Path) -> None:
    steps = [dict(type="TemporalGaussian", sigma_frames=0.6)]
    labels = [
        EchoInferencer(unet, device="cpu", batch_size=size, postprocess=steps, progress=False)(FILM)
        .results[0]
        .labels.read()
        for size in (3, 9)
    ]
    assert (labels[0] != labels[1]).mean() < 1e-3
    plain = EchoInferencer(unet, device="cpu", progress=False)(FILM).results[0].labels.read()
    assert (plain != labels[1]).any()


def test_clicks_are_carried(clicked: Path, tmp_path: Path) -> None:
    (tmp_path / "clicks.json").write_text(json.dumps({"x": CLICK, "other.nii": CLICK}))
    film = write_itk(tmp_path / "x.nii", FILM)
    runs = [
        EchoInferencer(clicked, device="cpu", prompts=prompts, progress=False)(film).results[0]
        for prompts in (CLICK, tmp_path / "clicks.json")
    ]
    first, second = (run.labels.read() for run in runs)
    np.testing.assert_array_equal(first, second)
    assert set(np.unique(first)) <= {0, 1, 3}
    assert runs[0].measures.structures == ("lv", "la")
    assert not any("lv:open" in flags for flags in runs[0].measures.flags)


def test_clicks_on_several_frames(clicked: Path, tmp_path: Path) -> None:
    film = write_itk(tmp_path / "x.nii", FILM)
    both = [{"frame": k, "lv": {"point": [20, 20]}, "la": {"point": [30, 9]}} for k in (3, 0)]
    split = [both[0], {"frame": 0, "lv": both[1]["lv"]}, {"frame": 0, "la": both[1]["la"]}]
    infer = EchoInferencer(clicked, device="cpu", prompts=both, progress=False)
    first, second, third = (
        infer(film, prompts=prompts).results[0].labels.read()
        for prompts in (None, {"x.nii": split}, both[:1])
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[3], third[3])
    assert (first[0] != third[0]).any()
    apart = [{"frame": 0, "lv": {"point": [20, 20]}}, {"frame": 3, "la": {"point": [30, 9]}}]
    with pytest.raises(ConfigError, match="no frame prompts all of la, lv"):
        infer(film, prompts=apart)


def test_a_mask_as_prompt_and_a_coarse_model(unet: Path, boxed: Path, tmp_path: Path) -> None:
    mask = write_itk(tmp_path / "mask.nii.gz", (FILM[0] > 120).astype(np.uint8))
    done = EchoInferencer(boxed, device="cpu", prompts=mask, progress=False)(FILM)
    assert done.results[0].measures.structures == ("lv",)
    coarse = EchoInferencer(boxed, device="cpu", coarse=unet, progress=False)(FILM)
    assert coarse.results[0].labels.read().shape == FILM.shape
    with pytest.raises(ConfigError, match="it needs prompts itself"):
        EchoInferencer(boxed, device="cpu", coarse=boxed)


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        ("auto", "needs prompts"),
        ("absent.json", "cannot be read"),
        ({}, "no structure is prompted"),
        ({"frame": 9, "lv": {"point": [1, 1]}}, "frame 9 wanted"),
        ({"frame": "0", "lv": {"point": [1, 1]}}, "whole number"),
        ({"frame": 0, "lv": {"point": [48, 1]}}, "outside the image"),
        ({"frame": 0, "rv": {"point": [1, 1]}}, "no structure 'rv'"),
        ({"lv": {"dot": [1, 1]}}, "'lv' is prompted by"),
        ({"lv": [1, 1]}, "'lv' is prompted by"),
        ({"other": {"lv": {"point": [1, 1]}}}, "no prompts for this film"),
        ({"lv": {"box": [1, 1, 9, 9]}}, "trained with points"),
        ({"mask": "absent.nii.gz"}, "no such file"),
        ([], "prompted by None"),
        ([{"frame": 0, "lv": {"point": [1, 1]}}, 7], "prompted by 7"),
        ([{"frame": 0, "lv": {"point": [1, 1]}}, {"frame": 9, "lv": {"point": [1, 1]}}], "frame 9"),
    ],
)
def test_prompts_that_cannot_be(clicked: Path, prompts: object, reason: str) -> None:
    with pytest.raises((ConfigError, DataError), match=reason):
        EchoInferencer(clicked, device="cpu", prompts=prompts, progress=False)(FILM)


def test_a_folder_without_prompts_for_a_model_that_makes_its_own(
    automatic: Path, tmp_path: Path
) -> None:
    write_itk(tmp_path / "in" / "film.nii.gz", FILM)
    write_itk(tmp_path / "in" / "still.nii.gz", FILM[0])
    infer = EchoInferencer(automatic, device="cpu", progress=False)
    done = infer(tmp_path / "in", tmp_path / "out")
    assert done.failures == []
    assert [result.film.num_frames for result in done.results] == [9, 1]
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out/film/labels.nii.gz")))
    wanted = infer.loaded.predict(FILM[:4]).pred_labels.numpy()  # the first clip of the film
    np.testing.assert_array_equal(written[:4], wanted)
    with pytest.raises(ConfigError, match="PromptableSegmentor takes no prompts"):
        EchoInferencer(automatic, device="cpu", prompts=CLICK)


def test_options_that_cannot_be(unet: Path) -> None:
    with pytest.raises(ConfigError, match="takes no prompts"):
        EchoInferencer(unet, device="cpu", prompts=CLICK)
    with pytest.raises(ConfigError, match="batch_size=0"):
        EchoInferencer(unet, device="cpu", batch_size=0)


def test_both_views_give_a_study(unet: Path, tmp_path: Path) -> None:
    rows, columns = np.indices((120, 100))

    def heart(scale: float) -> np.ndarray:
        inside = ((rows - 60) / 40 / scale) ** 2 + ((columns - 50) / 22 / scale) ** 2 < 1
        return np.where(inside, 1, 0).astype(np.uint8)

    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    inferencer.loaded.predict = lambda frames, *_: _Labels(frames > 100)
    for view in ("2CH", "4CH"):
        for instant, scale in (("ED", 1.0), ("ES", 0.8)):
            write_itk_mm(tmp_path / "in" / f"p1_{view}_{instant}.nii.gz", heart(scale) * 200)
    film = np.stack([heart(s) * 200 for s in (1, 0.97, 0.9, 0.84, 0.8)])
    write_itk_mm(tmp_path / "in" / "p2_2CH_half_sequence.nii.gz", film)
    write_itk_mm(tmp_path / "in" / "p2_4CH_half_sequence.nii.gz", film)
    write_itk_mm(tmp_path / "in" / "p3_4CH.nii.gz", film)
    done = inferencer(tmp_path / "in", tmp_path / "out")
    names = [f"p{number}_study.json" for number in (1, 2, 3)]
    assert sorted(path.name for path in done.studies) == names
    alone = done.studies.pop(tmp_path / "out/p3_study.json")
    assert alone["method"] == "single-plane 4CH"
    volume = 4 / 3 * math.pi * 40 * 22 * 22 / 1000
    for path in done.studies:
        study = json.loads(path.read_text())
        assert study["method"] == "biplane"
        assert study["edv_ml"] == pytest.approx(volume, rel=0.03)
        assert study["ef_percent"] == pytest.approx(100 * (1 - 0.8**3), abs=2)
    alone = json.loads((tmp_path / "out/p3_4CH/summary.json").read_text())
    assert alone["method"] == "single-plane 4CH"
    assert (alone["ed_frame"], alone["es_frame"]) == (0, 4)
    assert alone["edv_ml"] == pytest.approx(volume, rel=0.03)


class _Labels:
    """What a model sees: a cavity, and a wall around it."""

    def __init__(self, cavity: np.ndarray) -> None:
        import torch

        walls = ndimage.binary_dilation(cavity, np.ones((1, 9, 9)))
        self.pred_labels = torch.as_tensor((2 * walls - 1 * cavity).astype(np.uint8))


def write_itk_mm(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    sitk.WriteImage(image, str(path))


def everything_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def full_after(calls: int, error: int):
    """Stands for `os.replace` on a disk that gets full."""
    left = [calls]

    def replace(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(error, os.strerror(error))
        original(source, target)

    original = os.replace
    return replace


def test_a_disk_that_gets_full(unet: Path, tmp_path: Path, monkeypatch) -> None:
    """What is there is whole, what is left is counted, and nothing is cut."""
    for name in "abcd":
        write_itk(tmp_path / f"in/{name}.nii.gz", FILM[:1])
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    inferencer(tmp_path / "in/b.nii.gz", tmp_path / "out", frame_time_ms=30)
    older = everything_below(tmp_path / "out/b")
    monkeypatch.setattr(writers.os, "replace", full_after(7, errno.ENOSPC))
    done = inferencer(tmp_path / "in", tmp_path / "out")
    monkeypatch.undo()
    assert [result.folder.name for result in done.results] == ["a"]
    (name, reason), folder = done.failures[0], tmp_path / "out/b"
    assert (name, done.untried) == ("b", 2)
    assert "cannot be written (No space left on device)" in reason
    assert not (folder / "summary.json").exists() or everything_below(folder) == older
    folders = [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert sorted(folders) == ["a", "b"]
    assert not list((tmp_path / "out").rglob(".*"))
    inferencer(tmp_path / "in", tmp_path / "out")
    assert set(everything_below(folder)) == set(older)


def test_a_folder_that_refuses_one_film(unet: Path, tmp_path: Path) -> None:
    for name in "ab":
        write_itk(tmp_path / f"in/{name}.nii.gz", FILM[:1])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("a file of somebody's")
    done = EchoInferencer(unet, device="cpu", progress=False)(tmp_path / "in", tmp_path / "out")
    assert [name for name, _ in done.failures] == ["a"]
    assert [result.film.name for result in done.results] == ["b"]
    assert (tmp_path / "out/a").read_text() == "a file of somebody's"


def test_results_of_an_earlier_run_are_replaced_whole(unet: Path, tmp_path: Path) -> None:
    film = write_itk(tmp_path / "in/film.nii.gz", FILM)
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    inferencer(film, tmp_path / "out", mp4=True)
    (tmp_path / "out/film/mine.txt").write_text("a note")
    (tmp_path / "out/film/.unfinished").mkdir()  # of a run that was killed
    (tmp_path / "out/film/.unfinished/labels.nii.gz").write_bytes(b"cut")
    write_itk(film, FILM[0])
    inferencer(film, tmp_path / "out")
    names = ["frames.csv", "labels.nii.gz", "labels.txt", "mine.txt", "overlay.png", "summary.json"]
    assert list(everything_below(tmp_path / "out/film")) == [*names, "thumbnail.jpg"]


def test_strange_files_end_no_folder(unet: Path, tmp_path: Path) -> None:
    """A crash, a name in two lines, one that is no UTF-8, a pipe, somebody's own summary."""
    folder = tmp_path / "in"
    write_itk(folder / "good.nii.gz", FILM[:1])
    write_itk(folder / "two\nlines.nii.gz", FILM[:1])
    write_itk(folder / "theirs/film.nii.gz", FILM[:1])
    (folder / "theirs/summary.json").write_text('{"mean": 1}')
    shutil.copy(folder / "good.nii.gz", os.fsencode(folder) + b"/caf\xe9.nii.gz")
    os.mkfifo(folder / "pipe.nii.gz")
    (folder / "crash.mhd").write_text(
        "ObjectType = Image\nNDims = -1\nDimSize = 4 4\nElementType = MET_UCHAR\n"
        "ElementSpacing = 1 1\nElementDataFile = crash.raw\n"
    )
    (folder / "crash.raw").write_bytes(bytes(16))
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    done = inferencer(folder, tmp_path / "out")
    names = sorted(str(result.folder.relative_to(tmp_path / "out")) for result in done.results)
    failed = dict(done.failures)
    assert {"good", "theirs/film", "two\nlines"} <= set(names)
    assert "crash" in failed
    assert "caf\udce9" in {*names, *failed}
    assert all(len(reason.splitlines()) == 1 for _, reason in done.failures)
    again = inferencer([folder, tmp_path / "out"], tmp_path / "more")
    assert sorted(path.name for path in again.left_out.results) == sorted(
        path.rsplit("/")[-1] for path in names
    )


def test_prompts_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text('{"lv": ' + "[" * 100_000)
    with pytest.raises(ConfigError, match=r"deep.json: prompts are no JSON"):
        read_prompts(tmp_path / "deep.json")
