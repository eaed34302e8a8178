"""What the server refuses: a 4xx answer with one line, never a traceback."""

from __future__ import annotations

import errno
import gzip
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from echozoo.errors import StorageError


def refused(answer: Any, status: int, *words: str) -> None:
    """Check status, headers, and that the reason is one line that gives no path away."""
    assert answer.status_code == status, answer.text
    reason = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert reason
    assert "\n" not in reason
    assert "Traceback" not in reason
    assert "private" not in reason
    for word in words:
        assert word in reason
    assert answer.headers["x-content-type-options"] == "nosniff"


def post_click(client: Any, key: str, **given: Any) -> Any:
    body = {"frame": 0, "structure": "lv", "points": [[30, 20]], "labels": [1]} | given
    return client.post(f"/api/open/{key}/clicks", json=body)


class TestWhoMayCall:
    def test_another_name_of_this_machine(self, start) -> None:
        client = start()
        for host in (
            "evil.example",
            "evil.example:7860",
            "127.0.0.1.evil.example",
            "",
            "localhost.",
        ):
            refused(client.get("/api/model", headers={"Host": host}), 421)
            assert client.get("/", headers={"Host": host}).status_code == 421
        for host in ("localhost:7860", "LOCALHOST", "127.0.0.1:1", "[::1]:7860", "[::1]"):
            assert client.get("/api/model", headers={"Host": host}).status_code == 200

    def test_any_name_where_it_serves_a_network(self, start) -> None:
        client = start(hosts=None, base_url="http://station-3.example:7860")
        assert client.get("/api/model").status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "http://127.0.0.1:9999"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
    )
    def test_a_page_of_another_site(self, client, key, headers) -> None:
        for method, path in (("POST", "/api/films/0"), ("DELETE", f"/api/open/{key}")):
            refused(client.request(method, path, headers=headers), 403)
        assert client.get(f"/api/open/{key}").status_code == 200

    @pytest.mark.parametrize("origin", ["http://[::1", "http://[", "//[x]:7860"])
    def test_an_origin_that_is_no_address(self, client, key, origin) -> None:
        refused(client.post("/api/films/0", headers={"Origin": origin}), 400, "no address")

    def test_a_request_whose_end_is_unclear(self, client, key) -> None:
        headers = {"Content-Length": "2", "Transfer-Encoding": "chunked"}
        refused(client.post("/api/films/0", content=b"{}", headers=headers), 400, "wanted one")

    def test_its_own_page(self, client) -> None:
        headers = {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}
        assert client.post("/api/films/0", headers=headers).status_code == 201

    def test_headers(self, client) -> None:
        for path in ("/", "/main.js", "/api/model", "/nothing"):
            headers = client.get(path, headers={"Origin": "http://evil.example"}).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "script-src 'self'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
            assert not any(name.startswith("access-control") for name in headers)


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/../pyproject.toml", "/..%2fapp.py", "/%2e%2e/app.py", "/app.py", "/docs",
            "/openapi.json", "//etc/passwd", "/etc/passwd",
        ],
    )  # fmt: skip
    def test_files_beside_the_page(self, client, path) -> None:
        assert client.get(path).status_code == 404

    @pytest.mark.parametrize("number", ["1", "99999999", "-1", "..%2f..%2fetc%2fpasswd", "x"])
    def test_films_beside_the_list(self, client, number) -> None:
        answer = client.post(f"/api/films/{number}")
        assert answer.status_code in (404, 422)

    def test_a_name_never_reaches_the_disk(self, client, film_file, tmp_path) -> None:
        headers = {
            "Content-Disposition": 'attachment; filename="../../../evil.nii.gz"',
            "X-File-Name": "../evil",
        }
        client.post("/api/uploads?name=../evil", content=film_file.read_bytes(), headers=headers)
        assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


MHD = b"NDims = 2\nDimSize = 9 9\nElementType = MET_UCHAR\nElementDataFile = "


class TestUploads:
    @pytest.mark.parametrize(
        ("content", "status", "words"),
        [
            (b"", 422, "empty"),
            (b"#!/bin/sh\nrm -rf /\n" * 50, 422, "no known kind"),
            (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 422, "no known kind"),
            (b"%PDF-1.7" + bytes(500), 422, "no known kind"),
            (MHD + b"/etc/passwd\n", 422, "outside of its folder"),
            (MHD + b"pixels.raw\n", 422, "pixels.raw is not beside it"),
            (gzip.compress(b"no NIfTI" * 100, mtime=0), 422, "no known kind"),
            (b"\x1f\x8b" + bytes(50), 422, "not a whole gzip file"),
            (b"\x89PNG\r\n\x1a\n" + bytes(50), 422, "picture"),
            (bytes(128) + b"DICM" + bytes(50), 422, ""),
            (b"\x00\x00\x00\x18ftypmp42" + bytes(500), 422, "video"),
        ],
        ids=lambda value: str(value)[:24],
    )
    def test_what_is_no_film(self, client, tmp_path, content, status, words) -> None:
        refused(client.post("/api/uploads", content=content), status, words)
        assert not [path for path in (tmp_path / "private").rglob("*") if path.is_file()]

    def test_a_truncated_film(self, client, film_file, tmp_path) -> None:
        plain = gzip.decompress(film_file.read_bytes())
        for content in (plain[:-20], gzip.compress(plain)[:-10], gzip.compress(plain[:-20])):
            refused(client.post("/api/uploads", content=content), 422, "truncated")
        nan = np.full((2, 40, 60), np.nan, np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(nan), str(tmp_path / "nan.nii"))
        content = (tmp_path / "nan.nii").read_bytes()
        refused(client.post("/api/uploads", content=content), 422, "NaN")

    def test_too_large(self, start, film_file, tmp_path) -> None:
        client = start(max_upload_bytes=1000)
        refused(client.post("/api/uploads", content=bytes(1001)), 413, "larger")
        pieces = (bytes(100) for _ in range(11))  # no Content-Length
        refused(client.post("/api/uploads", content=pieces), 413, "larger")
        assert not [path for path in (tmp_path / "private").rglob("*") if path.is_file()]

    def test_small_but_large_when_unpacked(self, start, film_file) -> None:
        client = start(max_unpacked_bytes=10_000)
        assert film_file.stat().st_size < 1000
        refused(client.post("/api/uploads", content=film_file.read_bytes()), 413, "unpacked")

    def test_places_are_given_back(self, start, film_file) -> None:
        client = start(max_films=1)
        for _ in range(3):
            refused(client.post("/api/uploads", content=b"no film"), 422)
        content = film_file.read_bytes()
        key = client.post("/api/uploads", content=content).json()["key"]
        refused(client.post("/api/uploads", content=content), 429, "1 films are open")
        client.delete(f"/api/open/{key}")
        assert client.post("/api/uploads", content=content).status_code == 201

    def test_a_full_disk(self, start, film_file, monkeypatch, tmp_path) -> None:
        client = start(max_films=1)
        content = film_file.read_bytes()

        class Full(io.BytesIO):
            def write(self, _: object) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", lambda *_: Full())
            refused(client.post("/api/uploads", content=content), 507, "no room", "No space left")
        with monkeypatch.context() as patch:
            patch.setattr("echozoo.films.apart.SpooledFrames", raise_full)
            refused(client.post("/api/uploads", content=content), 507, "no room")
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.mkdtemp", raise_full_system)
            refused(client.post("/api/uploads", content=content), 507, "no room")
        assert not [p for p in (tmp_path / "private").rglob("*") if p.is_file()]
        key = client.post("/api/uploads", content=content).json()["key"]  # no place was lost
        with monkeypatch.context() as patch:
            patch.setattr("echozoo.serve.downloads.LabelWriter", raise_full)
            refused(client.get(f"/api/open/{key}/masks.nii.gz"), 507, "no room")


def raise_full(*_: object, **__: object) -> None:
    raise StorageError.of("/private/film", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def raise_full_system(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_idle_films_are_closed(start, film_file, tmp_path) -> None:
    client = start(idle_seconds=0.3)
    key = client.post("/api/uploads", content=film_file.read_bytes()).json()["key"]
    assert client.get(f"/api/open/{key}").status_code == 200
    time.sleep(1)
    refused(client.get(f"/api/open/{key}"), 410, "no longer open")
    assert not [path for path in (tmp_path / "private").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"points": [[60, 20]]}, "outside the image"),
        ({"points": [[-1, 20]]}, "outside the image"),
        ({"points": [[30, 1e300]]}, "points"),
        ({"frame": 5}, "frame 5"),
        ({"frame": -1}, "frame"),
        ({"frame": True}, "frame"),
        ({"frame": "0"}, "frame"),
        ({"labels": [True]}, "labels"),
        ({"points": [[True, 20]]}, "points"),
        ({"structure": "rv"}, "rv"),
        ({"structure": "myo"}, "myo"),
        ({"points": [], "labels": []}, "nothing given"),
        ({"labels": [0]}, "background alone"),
        ({"labels": [1, 1]}, "label"),
        ({"labels": [2]}, "labels"),
        ({"points": [[1, 2, 3]]}, "points"),
        ({"points": "many"}, "points"),
        ({"points": [[1, 1]] * 65, "labels": [1] * 65}, "points"),
        ({"box": [10, 10, 10, 10]}, "empty"),
        ({"box": [10, 10, 70, 20]}, "outside the image"),
        ({"path": "/etc/passwd"}, "path"),
    ],
    ids=str,
)
def test_clicks_that_cannot_be(client, key, given, words) -> None:
    refused(post_click(client, key, **given), 422, words)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"frame": 0}', b"\xff\xfe"])
def test_requests_that_are_no_clicks(client, key, body) -> None:
    headers = {"Content-Type": "application/json"}
    refused(client.post(f"/api/open/{key}/clicks", content=body, headers=headers), 422)


def test_numbers_that_are_none(client, key) -> None:
    body = '{"frame": 0, "structure": "lv", "points": [[NaN, Infinity]], "labels": [1]}'
    headers = {"Content-Type": "application/json"}
    refused(client.post(f"/api/open/{key}/clicks", content=body, headers=headers), 422)


def test_a_request_that_is_too_long(client, key) -> None:
    path = f"/api/open/{key}/clicks"
    refused(client.post(path, content=bytes(100_000)), 413)
    refused(client.post(path, content=(bytes(10_000) for _ in range(10))), 413)


def test_a_prompt_the_model_was_not_trained_with(start, film_file, disc_model) -> None:
    client = start(disc_model(prompts=("points",), understands=("points",)), films=film_file.parent)
    key = client.post("/api/films/0").json()["key"]
    answer = post_click(client, key, points=[], labels=[], box=[1, 1, 9, 9])
    refused(answer, 422, "boxes", "points")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/open/{}/frames/5", 422),
        ("GET", "/api/open/{}/frames/x", 422),
        ("GET", "/api/open/{}/masks?start=-1&stop=2", 422),
        ("GET", "/api/open/{}/masks", 422),
        ("GET", "/api/open/{}/job", 404),
        ("POST", "/api/open/{}/carry/0", 422),
        ("POST", "/api/open/{}/carry/9", 422),
        ("POST", "/api/open/{}/film", 422),
        ("DELETE", "/api/open/{}/clicks/0/rv", 422),
        ("DELETE", "/api/open/{}/clicks/9/lv", 422),
        ("PUT", "/api/open/{}", 405),
        ("GET", "/api/nothing", 404),
    ],
)
def test_what_is_not_there(client, key, method, path, status) -> None:
    refused(client.request(method, path.format(key)), status)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "/frames/0"), ("POST", "/clicks"), ("DELETE", "/clicks/0/lv"),
        ("GET", "/masks?start=0&stop=1"), ("DELETE", "/masks"), ("POST", "/carry/0"),
        ("POST", "/film"), ("GET", "/job"), ("DELETE", "/job"), ("GET", "/measures"),
        ("GET", "/masks.nii.gz"), ("GET", "/measures.csv"),
    ],
)  # fmt: skip
def test_a_film_that_is_not_open(client, method, path) -> None:
    body = {"frame": 0, "structure": "lv", "points": [[30, 20]], "labels": [1]}
    given = {"json": body} if path == "/clicks" else {}
    refused(client.request(method, f"/api/open/unknown{path}", **given), 410, "no longer open")


class TestJobs:
    def test_one_at_a_time_and_stopped(self, start, film_file, sessions) -> None:
        client = start(films=film_file.parent, session=sessions)
        key = client.post("/api/films/0").json()["key"]
        post_click(client, key)
        sessions.made[-1].go_on.clear()
        assert client.post(f"/api/open/{key}/carry/0").status_code == 202
        refused(client.post(f"/api/open/{key}/carry/0"), 409, "stop that")
        refused(post_click(client, key), 409)
        refused(client.delete(f"/api/open/{key}/masks"), 409)
        assert client.get(f"/api/open/{key}/frames/0").status_code == 200  # the page stays alive
        assert client.delete(f"/api/open/{key}/job").status_code == 204
        sessions.made[-1].go_on.set()
        job = _ended(client, key)
        assert job["state"] == "stopped"
        assert 0 < job["done"] < 5
        assert post_click(client, key).status_code == 200

    def test_a_failure_of_our_own_is_not_told(self, start, film_file, sessions) -> None:
        client = start(films=film_file.parent, session=sessions)
        key = client.post("/api/films/0").json()["key"]
        post_click(client, key)
        sessions.made[-1].breaks = True
        client.post(f"/api/open/{key}/carry/0")
        job = _ended(client, key)
        assert job["state"] == "failed"
        assert "secret" not in job["error"]


def test_a_failure_of_our_own_is_500_without_a_traceback(start, film_file, sessions) -> None:
    client = start(films=film_file.parent, session=sessions)
    key = client.post("/api/films/0").json()["key"]
    sessions.made[-1].segment_all = None
    answer = post_click(client, key)
    refused(answer, 500)
    assert "NoneType" not in answer.text


def _ended(client: Any, key: str) -> dict[str, Any]:
    for _ in range(200):
        job = client.get(f"/api/open/{key}/job").json()
        if job["state"] != "running":
            return job
        time.sleep(0.02)
    raise AssertionError(job)
