"""Where the server listens, for whom, and what it says when it cannot start."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from echozoo.errors import ConfigError, DataError
from echozoo.serve import start
from echozoo.serve.films import FilmList
from echozoo.serve.options import LOOPBACK_NAMES, ServeOptions, allowed_hosts


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", LOOPBACK_NAMES),
        ("localhost", LOOPBACK_NAMES),
        ("::1", LOOPBACK_NAMES),
        ("127.0.0.2", (*LOOPBACK_NAMES, "127.0.0.2")),
        ("0.0.0.0", None),
        ("192.168.0.7", None),
        ("station-3", None),
    ],
)
def test_names_by_which_it_may_be_called(host, names) -> None:
    assert allowed_hosts(host) == names


def test_names_of_proxies() -> None:
    assert allowed_hosts("127.0.0.1", ["Echo.Example"]) == (*LOOPBACK_NAMES, "echo.example")


@pytest.mark.parametrize("name", ["max_upload_bytes", "max_films", "idle_seconds"])
def test_limits_are_positive(name) -> None:
    with pytest.raises(ConfigError, match=name):
        ServeOptions(**{name: 0})


def test_a_port_that_is_taken(monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot listen"):
            start._listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match="no.such.host.invalid:80: cannot listen"):
        start._listen("no.such.host.invalid", 80)


def test_names_the_extra_that_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"fastapi and uvicorn not installed.*echozoo\[serve\]"):
        start.check_installed()


def test_lists_films_but_no_reference_masks(tmp_path: Path) -> None:
    for name in ("b/film.nii.gz", "a.dcm", "b/film_gt.nii.gz", "notes.txt", "c/x.MP4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert FilmList(tmp_path).names == ["a.dcm", "b/film.nii.gz", "c/x.MP4"]
    assert FilmList(None).names == []


def test_a_folder_without_films(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no film in it"):
        FilmList(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        FilmList(tmp_path / "x")
