"""What was done on a film is kept, and comes back: after closing, sleep, another server, damage."""

from __future__ import annotations

import json
import os
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echozoo.apis import EchoInferencer, load_model
from echozoo.apis.prompts import make_prompt
from echozoo.errors import ConfigError, DataError
from echozoo.films.film import EchoFilm, open_film
from echozoo.films.io import read_volume, write_volume
from echozoo.serve.kept import Choices, KeptSession, read_head, read_session, write_session
from echozoo.serve.store import Store


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


@pytest.mark.slow
def test_what_nobody_corrected_is_what_infer_gives(start, phantom, tmp_path) -> None:
    """The zoo's own model: segmented, corrected in one frame, closed, kept, opened again."""
    film = tmp_path / "films" / "film_4CH.nii.gz"
    film.parent.mkdir()
    film.write_bytes(next(phantom.rglob("*_4CH_half_sequence.nii.gz")).read_bytes())
    loaded = load_model(device="cpu")
    client = start(loaded, films=film.parent, session=None)
    page = opened(client)
    client.post(f"/api/open/{page['key']}/film")
    wait(lambda: client.get(f"/api/open/{page['key']}/job").json()["state"] == "done")
    stroke = {"frame": 1, "structure": "la", "radius": 4.0, "points": [[12, 9], [20, 9]]}
    answer = client.post(f"/api/open/{page['key']}/strokes", json=stroke)
    assert answer.status_code == 200, answer.text
    start.stop()

    client = start(loaded, films=film.parent, session=None)
    path = tmp_path / "masks.nii.gz"
    path.write_bytes(client.get(f"/api/open/{opened(client)['key']}/masks.nii.gz").content)
    found = read_volume(path, label=True).array
    wanted = EchoInferencer(device="cpu", progress=False)(film).results[0].labels.read()
    changed = found != wanted
    assert wanted.any(axis=(1, 2)).all()
    assert changed.any(axis=(1, 2)).tolist() == [frame == 1 for frame in range(len(found))]
    assert (found[changed] == 3).all()
    assert changed[1, :20, :30].sum() == changed.sum()


class TestTwoPages:
    def test_share_one_film_and_are_told(self, client, film_file) -> None:
        one, two = opened(client), opened(client, film_file)
        assert one["kept"] == two["kept"]
        assert one["key"] != two["key"]
        assert news(client, one["key"]) == {"others": 1, "changed": False, "not_kept": ""}
        click(client, one["key"])
        assert news(client, one["key"])["changed"] is False
        assert news(client, two["key"])["changed"] is True
        assert news(client, two["key"])["changed"] is False
        assert state(client, one["key"]) == state(client, two["key"])
        client.delete(f"/api/open/{one['key']}")
        assert news(client, two["key"])["others"] == 0
        assert masks(client, two["key"])[0]

    def test_at_two_servers(self, start, films) -> None:
        first, second = start(films=films), start(films=films)
        page = opened(first)
        answer = second.post("/api/films/0")
        assert answer.status_code == 409
        assert "another server has this film open" in answer.json()["error"]
        first.delete(f"/api/open/{page['key']}")
        assert second.post("/api/films/0").status_code == 201

    def test_a_film_in_place_of_another_takes_its_place(self, start, films, tmp_path) -> None:
        client = start(films=films, max_films=1)
        page = opened(client)
        (tmp_path / "wrong").write_bytes(b"no film")
        assert "error" in opened(client, tmp_path / "wrong", instead=page["key"])
        assert client.get(f"/api/open/{page['key']}").status_code == 200
        other = tmp_path / "other.nii.gz"
        write_volume(other, np.full((3, 40, 60), 90, np.uint8), (1.0, 1.0))
        assert "limit" in opened(client, other)["error"]
        assert opened(client, other, instead=page["key"])["frames"] == 3
        assert client.get(f"/api/open/{page['key']}").status_code == 410


class TestDamage:
    """A session that is not whole is set aside and said; the film opens without it."""

    def test_bytes(self, start, films, tmp_path) -> None:
        client = start(films=films)
        page = opened(client)
        work(client, page["key"])
        client.delete(f"/api/open/{page['key']}")
        session = session_of(tmp_path / "private")
        whole = session.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 3] ^= 255
        for number, damaged in enumerate((b"", whole[:-30], bytes(flipped), b"PK" + bytes(99)), 1):
            session.write_bytes(damaged)
            page = opened(client)
            [note] = [note for note in page["notes"] if "no whole session" in note]
            assert "set aside" in note
            assert "\n" not in note
            assert str(tmp_path) not in note
            assert state(client, page["key"]) == ([{}] * 5, [])
            click(client, page["key"])  # it can be worked on, and is kept anew
            client.delete(f"/api/open/{page['key']}")
            aside = list(session.parent.glob("*.damaged-*"))
            assert damaged in [path.read_bytes() for path in aside]
            assert len(aside) == number
            assert zipfile.is_zipfile(session)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda head: head.update(version=9), "version 9"),
            (lambda head: head.update(frames=4), "of 4 frames"),
            (lambda head: head.update(whole=[40, -60]), "a size of"),
            (lambda head: head.update(size=[10**6, 10**6]), ""),
            (lambda head: head.update(prompts=[{"frame": 0}]), "points"),
            (lambda head: head["prompts"][0].update(frame=99), "frame 99"),
            (lambda head: head["prompts"][0].update(structure="../x"), "structure"),
            (lambda head: head["prompts"][0].update(points=[["nan", 1]]), ""),
            (lambda head: head["layers"].update(clicked={"77": ["lv"]}), "frame 77"),
            (lambda head: head["layers"].update({"../../etc": {"0": ["lv"]}}), "layer"),
            (lambda head: head["choices"].update(ed=-1), "frame -1"),
            (lambda head: head["choices"].update(spacing=[0, 1]), "spacing"),
            (lambda head: head.clear(), "version"),
        ],
    )
    def test_contents(self, film, tmp_path, change, words) -> None:
        path = tmp_path / "lv.session"
        write_session(session(film), path)
        assert read_session(path, film).begun
        rewritten(path, {"session.json": lambda content: changed(content, change)})
        with pytest.raises(DataError, match=f"lv.session: no whole session .*{words}"):
            read_session(path, film)

    @pytest.mark.parametrize(
        "packed",
        [zlib.compress(bytes(2399)), zlib.compress(bytes(10**8)), b"no zlib", b"",
         zlib.compress(b"\x09" * 2400)],
    )  # fmt: skip
    def test_label_maps(self, film, tmp_path, packed) -> None:
        path = tmp_path / "lv.session"
        write_session(session(film), path)
        rewritten(path, {"clicked/0": lambda _: packed})
        with pytest.raises(DataError, match=r"lv.session: no whole session"):
            read_session(path, film)


@pytest.fixture
def film(film_file: Path) -> EchoFilm:
    return open_film(film_file)


def session(film: EchoFilm) -> KeptSession:
    packed = zlib.compress(np.ones(film.size, np.uint8).tobytes())
    return KeptSession.of(
        film,
        prompts={0: {"lv": make_prompt([[3, 4]], [1], [1, 2, 30, 20])}},
        layers={"clicked": {0: (packed, frozenset({"lv"}))}},
        choices=Choices(True, 1, 2, (0.5, 0.25)),
        listed=("film.nii.gz", 99),
    )


def test_a_session_is_read_as_it_was_written(film, tmp_path) -> None:
    kept = session(film)
    write_session(kept, tmp_path / "lv.session")
    again = read_session(tmp_path / "lv.session", film)
    (prompt,), (wanted,) = again.prompts[0].values(), kept.prompts[0].values()
    for name in ("points", "labels", "box"):
        assert np.array_equal(getattr(prompt, name), getattr(wanted, name))
    assert again.layers == kept.layers
    assert again.choices == kept.choices
    assert read_head(tmp_path / "lv.session") == (("film.nii.gz", 99), True)


def rewritten(path: Path, change: dict[str, Callable[[bytes], bytes]]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change.get(name, bytes)(content))


def changed(content: bytes, change: Callable[[dict], None]) -> bytes:
    head = json.loads(content)
    change(head)
    return json.dumps(head).encode()


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="--save-dir"):
        Store(tmp_path / "file" / "below", ("lv",))


def test_uploads_whose_pages_never_said_goodbye_go_after_a_week(tmp_path) -> None:
    for name, days in (("0" * 64, 8), ("1" * 64, 6)):
        upload = tmp_path / name / "film.upload"
        upload.parent.mkdir()
        upload.write_bytes(b"patient")
        os.utime(upload, (time.time() - days * 86400,) * 2)
    Store(tmp_path, ("lv",)).remove_old_uploads()
    assert [path.parent.name[0] for path in tmp_path.rglob("*.upload")] == ["1"]


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
