"""Every route, as the page uses it."""

from __future__ import annotations

import csv
import io
import re
import time
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk


def runs_to_mask(runs: list[int], size: tuple[int, int]) -> np.ndarray:
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size)


def click(client: Any, key: str, **given: Any) -> Any:
    body = {"frame": 0, "structure": "lv", "points": [[30, 20]], "labels": [1]} | given
    return client.post(f"/api/open/{key}/clicks", json=body)


def finished(client: Any, key: str) -> dict[str, Any]:
    for _ in range(200):
        job = client.get(f"/api/open/{key}/job").json()
        if job["state"] != "running":
            return job
        time.sleep(0.02)
    raise AssertionError(f"the job does not end: {job}")


def carried(client: Any, key: str, frame: int = 0) -> None:
    assert click(client, key, frame=frame).status_code == 200
    assert client.post(f"/api/open/{key}/carry/{frame}").status_code == 202
    assert finished(client, key) == {"state": "done", "done": 5, "total": 5, "error": ""}


def test_the_page_is_whole_and_asks_nobody_else(client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    seen, wanted = {"index.html"}, {"style.css", "main.js", "icon.svg"}
    while wanted - seen:
        name = (wanted - seen).pop()
        answer = client.get(f"/{name}")
        assert answer.status_code == 200, name
        seen.add(name)
        wanted |= set(re.findall(r'(?:from|import) "\./(.+)"', answer.text))
        assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "://" not in page.text
    folder = resources.files("echozoo.serve") / "page"
    assert seen == {file.name for file in folder.iterdir()}


def test_says_what_it_offers(client) -> None:
    offered = client.get("/api/model").json()
    assert offered["films"] == ["study/film_4CH.nii.gz"]
    assert offered["structures"][1] == {"name": "la", "title": "left atrium", "colour": "#56b4e9"}
    assert (offered["automatic"], offered["prompts"]) == (False, ["points", "boxes"])
    assert offered["max_upload_bytes"] == 512 * 2**20


def test_opens_a_listed_film_and_shows_its_frames(client) -> None:
    facts = client.post("/api/films/0")
    assert facts.status_code == 201
    facts = facts.json()
    key = facts.pop("key")
    assert (facts["frames"], facts["height"], facts["width"]) == (5, 40, 60)
    assert facts["spacing"] == [2.0, 1.0]
    assert client.get(f"/api/open/{key}").json() == {"key": key, **facts}
    png = client.get(f"/api/open/{key}/frames/3")
    assert png.headers["content-type"] == "image/png"
    pixels = cv2.imdecode(np.frombuffer(png.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (40, 60)
    assert (pixels == 30).all()


def test_opens_an_upload_and_removes_it_when_it_is_closed(client, film_file, tmp_path) -> None:
    answer = client.post("/api/uploads", content=film_file.read_bytes())
    assert answer.status_code == 201
    key = answer.json()["key"]
    stored = [path for path in (tmp_path / "private").rglob("*") if path.is_file()]
    assert [path.name for path in stored] == ["film.upload"]
    assert stored[0].parent.stat().st_mode & 0o077 == 0
    assert client.get(f"/api/open/{key}/frames/4").status_code == 200
    assert client.delete(f"/api/open/{key}").status_code == 204
    assert not stored[0].exists()
    assert client.get(f"/api/open/{key}").status_code == 410


def test_an_upload_in_pieces(client, film_file) -> None:
    whole = film_file.read_bytes()
    pieces = (whole[i : i + 100] for i in range(0, len(whole), 100))
    assert client.post("/api/uploads", content=pieces).status_code == 201


@pytest.mark.parametrize("given", [{}, {"points": [], "labels": [], "box": [20, 10, 40, 30]}])
def test_a_click_and_a_box_give_a_mask(client, key, given) -> None:
    answer = click(client, key, **given).json()
    mask = runs_to_mask(answer["masks"]["lv"], (40, 60))
    assert mask.sum() == DISC
    assert mask[20, 30]
    assert not mask[:, :16].any()
    assert client.get(f"/api/open/{key}/masks?start=0&stop=9").json() == {
        "start": 0,
        "masks": [answer["masks"], {}, {}, {}, {}],
    }


DISC = sum((x * x + y * y <= 14 * 14) for x in range(-14, 15) for y in range(-14, 15))


def test_taking_a_click_back_shows_what_was_carried(client, key) -> None:
    carried(client, key)
    before = client.get(f"/api/open/{key}/masks?start=1&stop=2").json()["masks"][0]
    changed = click(client, key, frame=1, points=[[10, 20]]).json()["masks"]
    assert changed["lv"] != before["lv"]
    answer = client.delete(f"/api/open/{key}/clicks/1/lv")
    assert answer.json() == {"frame": 1, "masks": before}
    assert client.delete(f"/api/open/{key}/masks").status_code == 204
    assert client.get(f"/api/open/{key}/masks?start=1&stop=2").json()["masks"] == [{}]


def test_carries_a_mask_through_the_film(client, key) -> None:
    carried(client, key, frame=2)
    masks = client.get(f"/api/open/{key}/masks?start=0&stop=5").json()["masks"]
    areas = [runs_to_mask(frame["lv"], (40, 60)).sum() for frame in masks]
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) == 5


class TestMeasures:
    def test_areas_instants_and_ejection_fraction(self, client, key) -> None:
        assert client.get(f"/api/open/{key}/measures").json()["numbers"] == []
        carried(client, key)
        found = client.get(f"/api/open/{key}/measures").json()
        assert found["unit"] == "cm²"
        assert found["areas"]["lv"][0] == pytest.approx(DISC * 2 / 100)
        assert list(found["areas"]) == ["lv"]  # nobody looked for the atrium
        assert found["marks"] == [{"frame": 0, "text": "ED"}, {"frame": 4, "text": "ES"}]
        numbers = {entry["name"]: entry["value"] for entry in found["numbers"]}
        # A disc of radius 14 pixels, 2 x 1 mm each, is an ellipse of 28 x 14 mm.
        assert float(numbers["EDV"].removesuffix(" ml")) == pytest.approx(
            4 / 3 * np.pi * 28 * 14 * 14 / 1000, abs=2
        )
        assert float(numbers["Ejection fraction"].removesuffix(" %")) == pytest.approx(
            100 * (1 - (10 / 14) ** 3), abs=3
        )
        assert "from this view alone" in found["method"]
        assert "Not for diagnosis" in found["method"]

    def test_pixels_where_no_spacing_is_known(self, start, tmp_path) -> None:
        picture = tmp_path / "picture.png"
        cv2.imwrite(str(picture), np.zeros((40, 60), np.uint8))
        client = start()
        opened = client.post("/api/uploads", content=picture.read_bytes()).json()
        assert opened["spacing"] is None
        assert any("no spacing" in note for note in opened["notes"])
        click(client, opened["key"])
        found = client.get(f"/api/open/{opened['key']}/measures").json()
        assert (found["unit"], found["areas"]["lv"]) == ("px²", [DISC])
        assert found["numbers"] == []

    def test_as_a_table(self, client, key) -> None:
        carried(client, key)
        answer = client.get(f"/api/open/{key}/measures.csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["frame"] for row in rows] == ["0", "1", "2", "3", "4"]
        assert [row["instant"] for row in rows] == ["ED", "", "", "", "ES"]
        assert float(rows[0]["lv_area_cm2"]) == pytest.approx(DISC * 2 / 100)
        assert "la_area_cm2" not in rows[0]
        assert float(rows[0]["lv_volume_ml"]) == pytest.approx(
            4 / 3 * np.pi * 28 * 14 * 14 / 1000, rel=0.05
        )

    def test_frames_that_nobody_segmented_have_no_numbers(self, client, key) -> None:
        for frame in (0, 3):
            click(client, key, frame=frame)
        click(client, key, frame=3, structure="la", points=[[10, 10]])
        found = client.get(f"/api/open/{key}/measures").json()
        assert [value is None for value in found["areas"]["lv"]] == [False, True, True, False, True]
        assert [value is None for value in found["areas"]["la"]] == [True, True, True, False, True]
        assert found["marks"] == [{"frame": 0, "text": "ED"}, {"frame": 3, "text": "ES"}]
        client.delete(f"/api/open/{key}/clicks/3/la")
        assert list(client.get(f"/api/open/{key}/measures").json()["areas"]) == ["lv"]


def test_masks_have_the_geometry_of_the_film(start, tmp_path) -> None:
    image = sitk.GetImageFromArray(np.zeros((5, 40, 60), np.uint8))
    image.SetSpacing((0.5, 0.75, 1.0))
    image.SetOrigin((10.0, -20.0, 3.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "turned.nii"))
    client = start()
    key = client.post("/api/uploads", content=(tmp_path / "turned.nii").read_bytes()).json()["key"]
    click(client, key, frame=1)
    click(client, key, frame=1, structure="la", points=[[10, 10]])
    answer = client.get(f"/api/open/{key}/masks.nii.gz")
    assert answer.headers["content-type"] == "application/gzip"
    (tmp_path / "masks.nii.gz").write_bytes(answer.content)
    masks = sitk.ReadImage(str(tmp_path / "masks.nii.gz"))
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(masks, name)() == pytest.approx(getattr(image, name)())
    labels = sitk.GetArrayFromImage(masks)
    assert np.unique(labels[1]).tolist() == [0, 1, 3]  # CAMUS's labels, whatever the model's
    assert labels[1, 20, 30] == 1
    assert labels[1, 10, 10] == 3
    assert not labels[[0, 2, 3, 4]].any()


class TestWithoutPrompts:
    @pytest.fixture
    def client(self, start, film_file: Path, automatic_model) -> Any:
        return start(automatic_model, films=film_file.parents[1], session=None)

    def test_segments_the_film(self, client, key) -> None:
        assert client.get("/api/model").json()["automatic"] is True
        assert client.post(f"/api/open/{key}/film").status_code == 202
        assert finished(client, key)["done"] == 5
        masks = client.get(f"/api/open/{key}/masks?start=0&stop=5").json()["masks"]
        for frame in masks:
            mask = runs_to_mask(frame["la"], (40, 60))
            assert mask.sum() == 100
            assert mask[20:30, 10:20].all()

    def test_takes_no_clicks(self, client, key) -> None:
        answer = click(client, key)
        assert answer.status_code == 422
        assert "takes no clicks" in answer.json()["error"]
