"""Clients that are slow, silent or gone hold nothing: a real server, and sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from echozoo.serve import connections, guard
from echozoo.serve.store import remove_abandoned

ROOT = Path(__file__).resolve().parents[2]
UPLOAD = b"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n"


@pytest.fixture
def address(tmp_path: Path, monkeypatch, disc_model, sessions):
    """The address of a server with one place for films, and half a second of patience."""
    import uvicorn

    from echozoo.serve.app import create_app
    from echozoo.serve.options import ServeOptions

    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(guard, "_STALLED", 0.5)
    monkeypatch.setattr(connections, "SECONDS", 0.5)
    app = create_app(
        disc_model(), ServeOptions(max_films=1, save_dir=private), start_clicks=sessions
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=connections.ImpatientProtocol, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def answer(client: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    client.settimeout(10)
    found = b""
    while piece := client.recv(65536):
        found += piece
    return found


def upload(address: tuple[str, int], content: bytes) -> bytes:
    head = UPLOAD.replace(b"5000", str(len(content)).encode())
    with socket.create_connection(address) as client:
        client.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + content)
        return answer(client)


@pytest.mark.parametrize("sent", [b"", b"GET /api/mo", UPLOAD[:-10]], ids=["none", "line", "head"])
def test_half_a_request(address, sent: bytes) -> None:
    with socket.create_connection(address) as client:
        client.sendall(sent)
        assert answer(client) == b""


def test_half_a_request_after_a_whole_one(address) -> None:
    whole = b"GET /api/model HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(address) as client:
        client.sendall(whole + whole[:20])
        assert answer(client).startswith(b"HTTP/1.1 200")


def test_half_a_body(address, film_file: Path) -> None:
    with socket.create_connection(address) as client:
        client.sendall(UPLOAD + b"some")
        assert answer(client).startswith(b"HTTP/1.1 408")
    assert upload(address, film_file.read_bytes()).startswith(b"HTTP/1.1 201")


def test_a_body_byte_by_byte(address, film_file: Path) -> None:
    start = time.monotonic()
    with socket.create_connection(address) as client:
        client.sendall(UPLOAD)
        found = b""
        client.settimeout(0.05)
        while not found and time.monotonic() < start + 10:
            client.sendall(b"x")
            try:
                found = client.recv(4096)
            except TimeoutError:
                continue
    assert found.startswith(b"HTTP/1.1 408")
    assert upload(address, film_file.read_bytes()).startswith(b"HTTP/1.1 201")


def test_a_client_that_hangs_up(address, film_file: Path) -> None:
    for sent in (b"some", film_file.read_bytes().ljust(5000, b"\0")):
        with socket.create_connection(address) as client:
            client.sendall(UPLOAD + sent)
    for _ in range(100):
        found = upload(address, film_file.read_bytes())
        if not found.startswith(b"HTTP/1.1 429"):
            break
        time.sleep(0.05)
    assert found.startswith(b"HTTP/1.1 201")


def test_uploads_of_a_server_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]);"
        "from echozoo.serve.options import ServeOptions;"
        "from echozoo.serve.store import Store, private_folder;"
        "from echozoo.serve.workspaces import Workspaces;"
        "store = Store(private_folder(), ('lv',));"
        "one = Workspaces(ServeOptions(), store, None, None, None, ());"
        "(one.reserve() / 'film.nii').write_bytes(b'patient');"
        "print(one._root, flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", code, str(ROOT)]
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path)}
    servers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    try:
        dead, alive = (Path(server.stdout.readline().strip()) for server in servers)
        assert all(one.name.startswith("echozoo-serve-") for one in (dead, alive))
        servers[0].send_signal(signal.SIGKILL)
        servers[0].wait()
        assert list(dead.rglob("film.nii"))
        (alive.parent / "echozoo-serve-link").symlink_to(alive)
        remove_abandoned(alive.parent, "echozoo-serve-")
        assert not dead.exists()
        assert list(alive.rglob("film.nii"))
    finally:
        for server in servers:
            server.kill()
            server.communicate()
    shutil.rmtree(alive)
