"""What was done on a film is kept, and comes back: after closing, sleep, another server, damage."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echozoo.films.io import read_volume, write_volume


def opened(client: Any, film: Path | int = 0, **query: str) -> dict[str, Any]:
    if isinstance(film, int):
        return client.post(f"/api/films/{film}", params=query).json()
    return client.post("/api/uploads", params=query, content=film.read_bytes()).json()


def click(client: Any, key: str, **given: Any) -> dict[str, Any]:
    body = {"frame": 0, "structure": "lv", "points": [[30, 20]], "labels": [1]} | given
    answer = client.post(f"/api/open/{key}/clicks", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["masks"]


def masks(client: Any, key: str) -> list[dict[str, list[int]]]:
    return client.get(f"/api/open/{key}/masks?start=0&stop=9").json()["masks"]


def work(client: Any, key: str) -> tuple[list, list]:
    """Click, carry, click again: what there is then."""
    click(client, key)
    client.post(f"/api/open/{key}/carry/0")
    wait(lambda: client.get(f"/api/open/{key}/job").json()["state"] == "done")
    click(client, key, frame=2, points=[[20, 20], [50, 30]], labels=[1, 0])
    click(client, key, frame=3, structure="la", points=[], labels=[], box=[5, 5, 25, 30])
    return state(client, key)


def state(client: Any, key: str) -> tuple[list, list]:
    return masks(client, key), client.get(f"/api/open/{key}/clicks").json()


def news(client: Any, key: str) -> dict[str, Any]:
    return client.get(f"/api/open/{key}/news").json()


def wait(until: Callable[[], Any]) -> None:
    for _ in range(300):
        if until():
            return
        time.sleep(0.02)
    raise AssertionError("it does not come")


@pytest.fixture
def films(film_file: Path) -> Path:
    return film_file.parents[1]


def session_of(private: Path) -> Path:
    [session] = private.glob("*/*.session")
    return session


class TestComesBack:
    def test_after_closing(self, client, film_file) -> None:
        first = opened(client)
        done = work(client, first["key"])
        assert len(done[1]) == 3
        wait(lambda: client.get("/api/films").json() == ["begun"])
        assert news(client, first["key"]) == {"others": 0, "changed": False, "not_kept": ""}
        assert client.delete(f"/api/open/{first['key']}").status_code == 204
        again = opened(client)
        assert again["key"] != first["key"]
        assert state(client, again["key"]) == done
        # The same bytes are the same film, wherever they come from.
        assert state(client, opened(client, film_file)["key"]) == done

    def test_after_another_start_of_the_server(self, start, films, film_file, tmp_path) -> None:
        done = {}
        other = tmp_path / "another.nii.gz"
        write_volume(other, np.full((3, 40, 60), 90, np.uint8), (1.0, 1.0))
        client = start(films=films)
        listed, upload = opened(client), opened(client, other)
        done = work(client, listed["key"]), [click(client, upload["key"]), {}, {}]
        start.stop()
        client = start(films=films)
        assert state(client, opened(client)["key"]) == done[0]
        # The page still knows what its upload is called here, and need not send it again.
        again = client.post(f"/api/kept/{upload['kept']}")
        assert again.status_code == 201
        assert masks(client, again.json()["key"]) == done[1]

    def test_after_sleep(self, start, film_file, tmp_path) -> None:
        client = start(idle_seconds=0.3)
        page = opened(client, film_file)
        done = click(client, page["key"])
        wait(lambda: client.get("/api/model").json() and not scratch(tmp_path))
        assert client.get(f"/api/open/{page['key']}").status_code == 410
        again = client.post(f"/api/kept/{page['kept']}").json()
        assert masks(client, again["key"])[0] == done

    def test_through_a_reload(self, start, film_file, tmp_path) -> None:
        client = start(leave_seconds=0.4)
        page = opened(client, film_file)
        assert client.post(f"/api/open/{page['key']}/leave").status_code == 204
        again = client.post(f"/api/kept/{page['kept']}").json()
        time.sleep(0.9)
        assert client.get(f"/api/open/{again['key']}").status_code == 200
        client.post(f"/api/open/{again['key']}/leave")  # and now for good
        wait(lambda: not list(tmp_path.rglob("*.upload")))
        assert client.post(f"/api/kept/{page['kept']}").status_code == 404

    def test_cut_to_another_part(self, start, tmp_path) -> None:
        """With --no-crop the same pixels are marked, in a larger image."""
        film = tmp_path / "films" / "sector.nii.gz"
        rows, columns = np.mgrid[:240, :320]
        fan = (np.hypot(rows - 20, columns - 160) < 180) & (abs(columns - 160) < 0.8 * (rows - 20))
        noise = np.random.default_rng(0).integers(60, 200, (5, 240, 320))
        write_volume(film, (noise * fan).astype(np.uint8), (1.0, 1.0))
        found = {}
        for crop in (True, False, True):
            client = start(films=film.parent, crop=crop, session=BoxSession)
            page = opened(client)
            assert (page["height"] < 240) == crop
            if not found:
                click(client, page["key"], points=[], labels=[], box=[50, 40, 80, 90])
            path = tmp_path / "masks.nii.gz"
            path.write_bytes(client.get(f"/api/open/{page['key']}/masks.nii.gz").content)
            found[crop] = read_volume(path, label=True).array, state(client, page["key"])[1]
            start.stop()
        assert found[True][0].sum() == 31 * 51
        assert np.array_equal(found[True][0], found[False][0])
        assert found[True][1][0]["box"] == [50, 40, 80, 90]
        assert found[False][1][0]["box"] != [50, 40, 80, 90]


class BoxSession:
    """Stands for a ClickSession: what is in the box."""

    def __init__(self, loaded: Any, film: Any) -> None:
        self.film = film

    def segment_all(self, frame: int, prompts: Any) -> np.ndarray:
        labels = np.zeros(self.film.size, np.uint8)
        x1, y1, x2, y2 = prompts["lv"].box.astype(int)
        labels[y1 : y2 + 1, x1 : x2 + 1] = 1
        return labels


def scratch(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("private/echozoo-serve-*/*"))
