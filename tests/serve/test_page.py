"""The page in a real browser, before a server in this process whose model draws discs."""

from __future__ import annotations

import contextlib
import errno
import http.client
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echozoo.errors import StorageError
from echozoo.films.io import read_volume, write_volume

pytestmark = pytest.mark.slow
FRAMES, SIZE = 5, (40, 60)
LAPTOP = {"width": 1366, "height": 768}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    for grey, name in enumerate(("first_4CH.nii.gz", "second_4CH.nii.gz"), start=1):
        write_volume(folder / name, np.full((FRAMES, *SIZE), 60 * grey, np.uint8), (2.0, 1.0))
    return folder


@pytest.fixture
def serving(films: Path, tmp_path: Path, running, disc_model, sessions) -> Callable[..., Any]:
    """Runs servers that keep their sessions in one place."""

    @contextlib.contextmanager
    def serving(port: int = 0, **model: Any) -> Iterator[str]:
        pytest.importorskip("fastapi", reason="the extra serve is not installed")
        from echozoo.serve.app import create_app
        from echozoo.serve.options import ServeOptions

        options = ServeOptions(films=films, save_dir=tmp_path / "private")
        with running(
            create_app(disc_model(**model), options, start_clicks=sessions), port
        ) as address:
            yield address

    return serving


@pytest.fixture
def page(serving, showing) -> Iterator[Any]:
    with serving() as address, showing(address, viewport=LAPTOP) as page:
        yield page


def choose(page: Any, number: int) -> None:
    page.select_option("#films", value=str(number))
    shown(page, "0:")


def shown(page: Any, start: str) -> None:
    """Wait until the stage shows frame:masks."""
    page.wait_for_selector(f'#canvas[data-shown^="{start}"]:not([aria-busy])')


def click(page: Any, x: float = 0.5, y: float = 0.5) -> None:
    """Click on the stage, at a part of its size."""
    box = page.locator("#canvas").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def carry(page: Any) -> None:
    page.click("#carry:not([disabled])")
    page.get_by_text("Every frame is segmented").wait_for()


def test_nothing_moves_with_the_first_mask_and_results_are_in_sight(page) -> None:
    choose(page, 0)
    box = page.locator("#stage").bounding_box()
    assert box["height"] > 400
    click(page)
    shown(page, "0:1")
    page.wait_for_selector("#legend span")
    assert page.locator("#stage").bounding_box() == box
    carry(page)
    page.wait_for_selector("#numbers dd")
    assert page.locator("#stage").bounding_box() == box
    page.set_input_files("#file", __file__)  # no film: what is said moves nothing
    page.wait_for_selector("#status.error")
    assert page.locator("#stage").bounding_box() == box
    for part in ("#curve", "#numbers dd", "#get-masks", "#get-table"):
        place = page.locator(part).first.bounding_box()
        assert place["y"] + place["height"] <= LAPTOP["height"], part


def test_the_first_prompt_is_one_that_the_model_was_trained_with(serving, showing) -> None:
    boxes = dict(prompts=("boxes",), understands=("points", "boxes"))
    with serving(**boxes) as address, showing(address) as page:
        assert page.is_checked("[name=tool][value=boxes]")
        assert page.is_enabled("[name=tool][value=points]")


def test_an_automatic_model_segments_what_is_opened_once(serving, showing) -> None:
    with serving(automatic=True, prompts=(), understands=()) as address, showing(address) as page:
        page.select_option("#films", value="0")
        page.get_by_text("Every frame is segmented.").wait_for()
        shown(page, "0:2")
        assert not page.is_visible("#carry")
        page.reload()
        shown(page, "0:2")
        assert page.inner_text("#status") == ""


def test_below_a_path_of_a_proxy(serving, showing, proxy) -> None:
    with serving() as address, proxy(address) as outside, showing(outside) as page:
        assert page.url.endswith("/echo/")
        choose(page, 0)
        click(page)
        shown(page, "0:1")
        carry(page)
        page.reload()
        shown(page, "0:1")


@pytest.fixture
def proxy() -> Callable[..., Any]:
    """Passes on what comes for /echo/, as a reverse proxy of a department does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            if not self.path.startswith("/echo/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            inside = http.client.HTTPConnection(self.server.inside)
            inside.request(self.command, self.path[len("/echo") :], body, dict(self.headers))
            answer = inside.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = pass_on

        def log_message(self, *_: object) -> None:
            pass

    @contextlib.contextmanager
    def proxy(address: str) -> Iterator[str]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.inside = address.split("/")[2]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/echo/"
        server.shutdown()
        server.server_close()
        thread.join()

    return proxy


def port_of(address: str) -> int:
    return int(address.rstrip("/").rpartition(":")[2])


def test_a_reload_and_a_restart_bring_everything_back(serving, showing, tmp_path) -> None:
    upload = tmp_path / "upload.nii.gz"
    write_volume(upload, np.full((FRAMES, *SIZE), 200, np.uint8), (2.0, 1.0))
    with serving() as address, showing(address) as page:
        page.set_input_files("#file", str(upload))
        shown(page, "0:0")
        click(page)
        shown(page, "0:1")
        carry(page)
        page.keyboard.press("ArrowRight")
        shown(page, "1:1")
        before = page.locator("#canvas").screenshot()
        page.reload()
        shown(page, "1:1")
        assert page.inner_text("#film-name") == "upload.nii.gz"
        assert page.locator("#canvas").screenshot() == before
        page.keyboard.press("Home")
        shown(page, "0:1")
        page.wait_for_selector("#clear:not([disabled])")  # the prompt is known, too
        # Another film, and back.
        choose(page, 1)
        shown(page, "0:0")
        click(page, 0.4)
        shown(page, "0:1")
        page.wait_for_selector(
            '#films option:has-text("second_4CH.nii.gz (begun)")', state="attached"
        )
        page.check("#done:not([disabled])")
        page.wait_for_selector(
            '#films option:has-text("second_4CH.nii.gz (done)")', state="attached"
        )
        assert page.inner_text("#films-done") == "2 films: 1 untouched, 0 begun, 1 done"
    with serving() as address, showing(address) as page:  # another server, another browser
        choose(page, 1)
        shown(page, "0:1")
        assert page.is_checked("#done")
        page.set_input_files("#file", str(upload))
        page.get_by_text("upload.nii.gz").wait_for()
        shown(page, "0:1")
        page.wait_for_selector('#curve[aria-label*="5 of 5"]')


def test_a_server_that_is_away_gets_what_was_clicked_when_it_is_back(
    serving, browser, films
) -> None:
    context = browser.new_context(viewport=LAPTOP)
    page = context.new_page()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    with serving() as address:
        page.goto(address)
        page.wait_for_selector("#structures input")
        choose(page, 0)
    click(page)
    page.get_by_text("The server does not answer").wait_for()
    page.close(run_before_unload=True)
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]  # the click would be lost: stay
    with serving(port_of(address)):
        shown(page, "0:1")
        page.close(run_before_unload=True)
        page.wait_for_event("close")
    assert asked == ["beforeunload"]
    context.close()


def test_a_disk_that_is_full_is_said_and_leaving_asks(page, monkeypatch) -> None:
    def full(_: object, path: Path) -> None:
        no_space = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise StorageError.of(path, no_space) from no_space

    monkeypatch.setattr("echozoo.serve.store.write_session", full)
    choose(page, 0)
    click(page)
    shown(page, "0:1")
    page.get_by_text("is not kept, the server's disk takes nothing (No space").wait_for()
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.accept()
    page.wait_for_event("close")


def test_a_file_that_is_refused_leaves_the_film_open(page, tmp_path) -> None:
    choose(page, 0)
    click(page)
    shown(page, "0:1")
    wrong = tmp_path / "wrong.nii.gz"
    wrong.write_bytes(b"no film at all")
    page.set_input_files("#file", str(wrong))
    page.get_by_text("no known kind").wait_for()
    assert page.inner_text("#film-name") == "first_4CH.nii.gz"
    assert page.input_value("#films") == "0"
    assert page.is_visible("#canvas")
    assert not page.is_visible("#welcome")
    page.keyboard.press("End")
    shown(page, "4:0")
    page.set_input_files("#brought", str(wrong))
    page.get_by_text("no known kind").wait_for()
    page.keyboard.press("Home")
    shown(page, "0:1")


def look_at(page: Any) -> None:
    """Come to a tab from another one."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_two_tabs_are_told_of_each_other(page) -> None:
    choose(page, 0)
    other = page.context.new_page()
    other.goto(page.url)
    choose(other, 0)
    other.wait_for_selector("#elsewhere", state="visible")
    look_at(page)
    page.wait_for_selector("#elsewhere", state="visible")
    click(other)
    shown(other, "0:1")
    look_at(page)
    page.get_by_text("Another tab has changed the masks").wait_for()
    shown(page, "0:1")
    page.click("#clear:not([disabled])")  # its prompt is here, too
    shown(page, "0:0")
    look_at(other)
    shown(other, "0:0")
    other.close()
    look_at(page)
    page.wait_for_selector("#elsewhere", state="hidden")


def test_masks_and_clicks_go_out_and_in(page, tmp_path) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    choose(page, 0)
    click(page)
    shown(page, "0:1")
    carry(page)
    files = {}
    for button in ("#get-masks", "#get-clicks"):
        with page.expect_download() as caught:
            page.click(button)
        files[button] = tmp_path / caught.value.suggested_filename
        caught.value.save_as(files[button])
    assert files["#get-clicks"].name == "first_4CH_clicks.json"
    page.click("#reset")
    shown(page, "0:0")
    page.set_input_files("#brought", str(files["#get-clicks"]))
    shown(page, "0:1")
    page.wait_for_selector("#clear:not([disabled])")
    page.click("#reset:not([disabled])")
    shown(page, "0:0")
    page.set_input_files("#brought", str(files["#get-masks"]))
    page.get_by_text("Masks of 5 frames are in place").wait_for()
    shown(page, "0:1")
    assert not page.is_enabled("#clear")
    with page.expect_download() as caught:
        page.click("#get-masks")
    caught.value.save_as(tmp_path / "again.nii.gz")
    first = read_volume(files["#get-masks"], label=True).array
    assert first.any(axis=(1, 2)).all()
    assert np.array_equal(read_volume(tmp_path / "again.nii.gz", label=True).array, first)
