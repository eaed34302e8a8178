"""One film through echozoo infer, `EchoInferencer` and the page: the same masks and numbers."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from film_files import moving_disc

from echozoo.apis import EchoInferencer, load_model
from echozoo.cli import infer
from echozoo.films.io import read_volume, write_volume
from echozoo.postprocessing import Postprocessing

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 19
SMOOTH = [
    dict(type="TemporalGaussian", sigma_frames=2),
    dict(type="LargestComponent"),
    dict(type="WhittakerSmoother"),
]


Prompts = dict | list[dict]


class Seen(NamedTuple):
    """What a door gave: label maps (T, H, W), the table's text, ED, ES and EF."""

    labels: np.ndarray
    table: str
    phases: tuple[int | None, int | None]
    ef: str | None


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "p1_4CH.nii.gz"
    frames = moving_disc(FRAMES, (40, 48))
    noise = np.random.default_rng(0).integers(0, 60, frames.shape)
    write_volume(path, np.clip(frames.astype(int) + noise, 0, 255).astype(np.uint8), (3.0, 2.0))
    return path


def from_tool(run: Path, film: Path, out: Path, steps: list[dict], prompts: Prompts | None) -> Seen:
    """Run `echozoo infer` as a command does; its steps of postprocessing stand in the config."""
    config = out / "with_steps.py"
    base = str(run / "tiny.py")
    config.write_text(f"_base_ = {base!r}\nmodel = dict(postprocessing={steps!r})\n")
    arguments = [config, run / "best_x_epoch_1.pth", film, "-o", out, "--device", "cpu"]
    if prompts:
        (out / "clicks.json").write_text(json.dumps(prompts))
        arguments += ["--prompts", out / "clicks.json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["infer", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            infer.main()
    assert stop.value.code == 0
    folder = out / "p1_4CH"
    summary = json.loads((folder / "summary.json").read_text())
    ef = summary["ef_percent"]
    return Seen(
        read_volume(folder / "labels.nii.gz", label=True).array,
        (folder / "frames.csv").read_text(),
        (summary["ed_frame"], summary["es_frame"]),
        None if ef is None else f"{ef:.0f} %",
    )


def from_inferencer(run: Path, film: Path, steps: list[dict], prompts: Prompts | None) -> Seen:
    given = {"prompts": prompts} if prompts else {}
    infer = EchoInferencer(run, device="cpu", postprocess=steps, progress=False, **given)
    result = infer(film).results[0]
    measures = result.measures
    ef = None if measures.ef is None else measures.ef.ef_percent
    return Seen(
        result.labels.read(),
        measures.table(),
        (measures.ed, measures.es),
        None if ef is None or np.isnan(ef) else f"{ef:.0f} %",
    )


def from_page(run: Path, film: Path, steps: list[dict], prompts: Prompts | None) -> Seen:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from fastapi.testclient import TestClient

    from echozoo.serve.app import create_app
    from echozoo.serve.options import ServeOptions

    loaded = load_model(run, device="cpu")
    loaded.model.postprocessing = Postprocessing(steps)
    app = create_app(
        loaded, ServeOptions(films=film.parent, save_dir=run / "kept" / str(time.time_ns()))
    )
    with TestClient(app, base_url="http://127.0.0.1:7860") as client:
        path = f"/api/open/{client.post('/api/films/0').json()['key']}"
        entries = prompts if isinstance(prompts, list) else [prompts]
        for entry in entries:  # what is carried is corrected, and carried anew from the first
            if entry:
                click_all(client, path, entry)
            start = f"carry/{entries[0]['frame']}" if entry else "film"
            assert client.post(f"{path}/{start}").status_code == 202
            while (job := client.get(f"{path}/job").json())["state"] == "running":
                time.sleep(0.02)
            assert job["state"] == "done", job
        masks = film.parent / "masks.nii.gz"
        masks.write_bytes(client.get(f"{path}/masks.nii.gz").content)
        table = client.get(f"{path}/measures.csv").text
        shown = client.get(f"{path}/measures").json()
    marks = {mark["text"]: mark["frame"] for mark in shown["marks"]}
    numbers = {number["name"]: number["value"] for number in shown["numbers"]}
    labels = read_volume(masks, label=True).array
    masks.unlink()
    ef = numbers.get("Ejection fraction")
    return Seen(labels, table, (marks.get("ED"), marks.get("ES")), ef)


def first_columns(table: str, like: str) -> str:
    count = len(like.partition("\n")[0].split(","))
    rows = [*csv.reader(io.StringIO(table))]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(row[:count] for row in rows)
    return text.getvalue()


def click_all(client: Any, path: str, prompts: dict) -> None:
    for name, given in prompts.items():
        if name != "frame":
            click = {"frame": prompts["frame"], "structure": name, **given}
            answer = client.post(f"{path}/clicks", json=click)
            assert answer.status_code == 200, answer.text


CLICKS = {
    "frame": 7,
    "lv": {"points": [[24, 20]], "labels": [1]},
    "la": {"points": [[30, 30], [5, 5]], "labels": [1, 0]},
}
CORRECTED = [CLICKS, {"frame": 13, "la": {"points": [[12, 30]], "labels": [1]}}]
BOXES = {"frame": 7, "lv": {"box": [8, 6, 40, 34]}, "myo": {"box": [4, 4, 44, 38]}}


@pytest.mark.parametrize("steps", [[], SMOOTH], ids=["plain", "smoothed"])
@pytest.mark.parametrize(
    ("kind", "prompts"),
    [
        ("unet", None),
        ("automatic", None),
        ("clicked", CLICKS),
        ("clicked", CORRECTED),
        ("boxed", BOXES),
    ],
    ids=["frames", "clips", "clicks on a frame", "clicks on two frames", "boxes on clips"],
)
def test_the_same_at_every_door(
    kind: str, prompts: Prompts | None, steps: list[dict], film: Path, tmp_path: Path, request
) -> None:
    run = request.getfixturevalue(kind)
    torch.manual_seed(0)
    tool = from_tool(run, film, tmp_path, steps, prompts)
    inferencer = from_inferencer(run, film, steps, prompts)
    page = from_page(run, film, steps, prompts)
    assert len(np.unique(tool.labels)) > 1, "the film has masks to compare"
    for other in (inferencer, page):
        np.testing.assert_array_equal(other.labels, tool.labels)
        assert first_columns(other.table, tool.table) == tool.table  # the page has more of them
        assert (other.phases, other.ef) == (tool.phases, tool.ef)
    rows = list(csv.DictReader(io.StringIO(tool.table)))
    assert [row["frame"] for row in rows] == [str(frame) for frame in range(FRAMES)]
    first = prompts[0] if isinstance(prompts, list) else prompts
    sought = ("lv", "myo", "la") if first is None else [n for n in first if n != "frame"]
    areas = [f"{name}_area_cm2" for name in sought]
    volumes = [f"{name}_volume_ml" for name in ("lv", "la") if {"lv", name} <= {*sought}]
    assert list(rows[0]) == ["frame", "time_ms", "instant", *areas, *volumes, "flags"]
    pixels = (tool.labels == 1).sum((1, 2)) * 3.0 * 2.0 / 100
    np.testing.assert_allclose([float(row["lv_area_cm2"]) for row in rows], pixels, rtol=1e-5)
