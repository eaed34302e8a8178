"""Published models on the Hub and back, with a folder in its place, and with a server where the
real client is installed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from echozoo import hub
from echozoo.apis.loading import load_model
from echozoo.cli import pull, push
from echozoo.errors import CheckpointError, ConfigError
from echozoo.export.weights_file import write_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def published(tmp_path) -> Path:
    """What `echozoo publish` writes, as far as the Hub is concerned."""
    folder = tmp_path / "published"
    folder.mkdir()
    write_weights(folder / "toy-1.safetensors", {"a": torch.ones(3)}, {"name": "toy"})
    (folder / "toy.py").write_text("model = dict()\n")
    (folder / "MODEL_CARD.md").write_text("# toy\n")
    return folder


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> Path:
    """The calls of huggingface_hub that are used, on folders in place of repositories."""
    root = tmp_path / "hub"

    class HfApi:
        def create_repo(self, repo_id, *, private, exist_ok):
            (root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
            return f"https://hub.example/{repo_id}"

        def upload_folder(self, *, repo_id, folder_path, commit_message, delete_patterns):
            for file in (root / repo_id).iterdir():
                if any(fnmatch(file.name, pattern) for pattern in delete_patterns):
                    file.unlink()
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)

    def snapshot_download(repo_id, *, revision, allow_patterns):
        if revision not in (None, "v1") or not (root / repo_id).is_dir():
            raise OSError(f"404: no {repo_id}\n  at {revision}")
        return str(root / repo_id)

    module = ModuleType("huggingface_hub")
    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    module.__spec__ = ModuleSpec("huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return root


def run(command: ModuleType, monkeypatch, *words: object) -> object:
    monkeypatch.setattr(sys, "argv", ["echozoo", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        command.main()
    return end.value.code


def test_there_and_back(published, stand_in, tmp_path, monkeypatch, capsys):
    assert run(push, monkeypatch, published, "me/toy") == 0
    assert capsys.readouterr().out == "https://hub.example/me/toy\n"
    there = sorted(path.name for path in (stand_in / "me/toy").iterdir())
    assert there == ["README.md", "toy-1.safetensors", "toy.py"]
    assert (stand_in / "me/toy/README.md").read_text() == "# toy\n"
    for name in ("me/toy", "hub:me/toy", "me/toy@v1"):
        assert run(pull, monkeypatch, name, "-o", tmp_path / "got") == 0
    got = tmp_path / "got" / "toy-1.safetensors"
    assert capsys.readouterr().out == 3 * f"{got}\n"
    assert got.read_bytes() == (published / got.name).read_bytes()

    (published / got.name).rename(published / "toy-2.safetensors")
    assert run(push, monkeypatch, published, "me/toy") == 0
    assert hub.pull("me/toy").name == "toy-2.safetensors", "one model at a time"
    with pytest.raises(CheckpointError, match="carries no config"):  # the file has come so far
        load_model("hub:me/toy")


def test_what_goes_wrong_is_one_line(published, stand_in, monkeypatch):
    said = run(pull, monkeypatch, "me/absent")
    assert said.startswith("error: hub:me/absent: 404: no me/absent at None (wanted a repository")
    assert "\n" not in said
    (stand_in / "me/two").mkdir(parents=True)
    assert "hub:me/two: found none, wanted one" in run(pull, monkeypatch, "me/two")
    file = published / "toy-1.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert "weights_sha256" in run(push, monkeypatch, published, "me/toy")
    assert "found none, wanted one published" in run(push, monkeypatch, stand_in, "me/toy")
    (published / "MODEL_CARD.md").unlink()
    with pytest.raises(ConfigError, match="publish the model first"):
        hub.push(file, "me/toy")
    monkeypatch.delitem(sys.modules, "huggingface_hub")
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'echozoo\[hub\]'"):
        hub.pull("me/toy")


@pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="the extra hub is not installed")
def test_the_real_client_and_a_local_server(published, tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    content = {path.name: path.read_bytes() for path in published.iterdir()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            place = self.path.partition("?")[0]
            name = place.rpartition("/")[2]
            if place.startswith("/api/models/me/toy"):
                files = [{"rfilename": n, "type": "file", "path": n, "size": len(content[n]),
                          "oid": "0" * 40} for n in content]  # fmt: skip
                tree = "/tree/" in place
                body = json.dumps(files if tree else {"sha": COMMIT, "id": "me/toy",
                                                      "siblings": files}).encode()  # fmt: skip
            elif name in content and "/resolve/" in place:
                body = content[name]
            else:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            return None

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    here = f"http://127.0.0.1:{server.server_port}"

    def download(*args, **options):
        return huggingface_hub.snapshot_download(
            *args, **options, endpoint=here, cache_dir=tmp_path / "cache", token=False
        )

    client = ModuleType("client")
    client.snapshot_download = download
    monkeypatch.setattr(hub, "import_module", lambda name: client)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    try:
        got = hub.pull("me/toy")
        assert got.read_bytes() == content["toy-1.safetensors"]
        with pytest.raises(CheckpointError, match="hub:me/absent: "):
            hub.pull("me/absent")
    finally:
        server.shutdown()
        server.server_close()
    assert hub.pull("me/toy") == got, "from the cache, without the Hub"
