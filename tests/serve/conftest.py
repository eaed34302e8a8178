"""A server with a model that needs no network: every click gives a disc."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from echozoo.datasets.anatomy import join_masks
from echozoo.films.io import write_volume
from echozoo.postprocessing import Postprocessing

FRAMES, HEIGHT, WIDTH = 5, 40, 60
SPACING = (2.0, 1.0)
RADIUS = 14


class DiscSession:
    """Stands for a ClickSession: a disc around the first point, or in the box."""

    def __init__(self, loaded: Any, film: Any) -> None:
        self.film = film
        self.go_on = threading.Event()  # carrying waits for it after its first frame
        self.go_on.set()
        self.breaks = False

    def segment_all(self, frame: int, prompts: Mapping[str, Any]) -> np.ndarray:
        masks = {}
        for name, prompt in prompts.items():
            x, y = prompt.points[0] if len(prompt.points) else prompt.box.reshape(2, 2).mean(axis=0)
            masks[name] = self.disc(x, y, RADIUS - frame)
        return join_masks(masks)

    def carry(
        self,
        frame: int,
        masks: Mapping[str, np.ndarray],
        prompts: Mapping[str, Any],
        others: Mapping[int, Mapping[str, np.ndarray]],
        reach: range,
    ) -> Iterator[tuple[int, np.ndarray]]:
        order = [*range(frame, reach[-1] + 1), *range(frame - 1, reach[0] - 1, -1)]
        for index in order:
            labels = np.zeros(self.film.size, np.uint8)
            for value, name in enumerate(("lv", "myo", "la"), start=1):
                if name in masks:
                    labels[self.disc(30, 20, RADIUS - index)] = value
            yield index, labels
            if self.breaks:
                raise RuntimeError("a secret of the inside")
            self.go_on.wait(10)

    def look_ahead(self, frame: int) -> bool:
        return False

    def forget(self) -> None:
        self.forgotten = True

    def disc(self, x: float, y: float, radius: float) -> np.ndarray:
        rows, columns = np.ogrid[:HEIGHT, :WIDTH]
        return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def model(automatic: bool = False, **changed: Any) -> SimpleNamespace:
    """Stands for a LoadedModel of lv and la."""

    def predict(clip: np.ndarray, spacing: Any, places: Any) -> SimpleNamespace:
        labels = torch.zeros(clip.shape, dtype=torch.uint8)
        labels[:, 10:20, 10:20] = 1
        labels[:, 20:30, 10:20] = 2
        return SimpleNamespace(pred_labels=labels)

    prompts = ("points", "boxes") if not automatic else ()
    known = dict(
        automatic=automatic,
        prompts=prompts,
        understands=prompts,
        model=SimpleNamespace(postprocessing=Postprocessing([]), view_head=None),
        structures=("lv", "la"),
        clip_length=2,
        predict=predict,
        cfg=SimpleNamespace(filename="disc.py"),
        checkpoint=None,
        precision="float32",
    )
    return SimpleNamespace(**(known | changed))


@pytest.fixture
def film_file(tmp_path: Path) -> Path:
    """A film of 5 frames of 40 x 60 pixels, frame t of grey level 10 t; 2 x 1 mm a pixel."""
    frames = np.arange(FRAMES, dtype=np.uint8)[:, None, None] * 10
    path = tmp_path / "films" / "study" / "film_4CH.nii.gz"
    write_volume(path, np.broadcast_to(frames, (FRAMES, HEIGHT, WIDTH)), SPACING)
    return path


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes clients of new servers, which keep sessions in tmp_path / "private"; and stops them."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from fastapi.testclient import TestClient

    from echozoo.serve.app import create_app
    from echozoo.serve.options import ServeOptions

    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))
    clients = []

    def start(
        loaded: Any = None,
        base_url: str = "http://127.0.0.1:7860",
        session=DiscSession,
        **options: Any,
    ) -> TestClient:
        options = {"save_dir": private} | options
        app = create_app(loaded or model(), ServeOptions(**options), start_clicks=session)
        client = TestClient(app, base_url=base_url, raise_server_exceptions=False)
        clients.append(client.__enter__())
        return clients[-1]

    def stop() -> None:
        """End the last server that was started."""
        clients.pop().__exit__(None, None, None)

    start.stop = stop
    yield start
    while clients:
        stop()
    # Nothing stays behind but sessions, and uploads that are worked on.
    assert not [path for path in private.rglob("*.*") if path.name.startswith((".", "echozoo-"))]


@pytest.fixture
def client(start, film_file: Path) -> Any:
    """A client of a server that offers the film."""
    return start(films=film_file.parents[1])


@pytest.fixture
def key(client: Any) -> str:
    """The film, opened."""
    return client.post("/api/films/0").json()["key"]


@pytest.fixture(scope="session")
def disc_session() -> type[DiscSession]:
    """What stands for a ClickSession."""
    return DiscSession


@pytest.fixture(scope="session")
def disc_model() -> Callable[..., SimpleNamespace]:
    """Makes models that take clicks."""
    return model


@pytest.fixture
def automatic_model() -> SimpleNamespace:
    """A model that takes no clicks."""
    return model(automatic=True)


@pytest.fixture
def sessions() -> Callable[..., DiscSession]:
    """Makes sessions and keeps them in its attribute ``made``."""

    def make(loaded: Any, film: Any) -> DiscSession:
        make.made.append(DiscSession(loaded, film))
        return make.made[-1]

    make.made = []
    return make


@pytest.fixture(scope="session")
def showing(browser: Any) -> Callable[..., Any]:
    """Shows the page at an address, which must not complain of anything."""
    return partial(_showing, browser)


@contextlib.contextmanager
def _showing(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    options = {"viewport": {"width": 1200, "height": 800}} | options
    context = browser.new_context(accept_downloads=True, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda request: complaints.append(_failure(request)))
    page.goto(address)
    page.wait_for_selector("#structures input")
    yield page
    if not page.is_closed():
        page.wait_for_timeout(100)
    assert [text for text in complaints if not text.startswith(_EXPECTED)] == []
    context.close()


# What the browser notes of every answer of 4xx; and a reload gives up what is still asked for.
_EXPECTED = ("Failed to load resource", "net::ERR_ABORTED")


def _failure(request: Any) -> str:
    return f"{request.failure} {request.url}"


@pytest.fixture(scope="session")
def running() -> Callable[..., Any]:
    """Runs an application in a thread of this process; gives its address."""
    return _running


@contextlib.contextmanager
def _running(app: Any, port: int = 0) -> Iterator[str]:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()
