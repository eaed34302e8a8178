"""The page in a real browser: brush, boxes, zoom, steps, flags, numbers; by mouse, keys, touch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from echozoo.films.io import write_volume
from echozoo.serve.strokes import covered

pytestmark = pytest.mark.slow
FRAMES, SIZE = 5, (40, 60)
RATIO = 60 * 1.0 / (40 * 2.0)
FILMS = 12  # one for each test
VIDEO = "video_4CH.avi"


@pytest.fixture(scope="module")
def address(tmp_path_factory, running, disc_model, disc_session) -> Iterator[str]:
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from echozoo.serve.app import create_app
    from echozoo.serve.options import ServeOptions

    folder = tmp_path_factory.mktemp("page")
    films = folder / "films"
    for number in range(FILMS):
        grey = np.full((FRAMES, *SIZE), 60 + number, np.uint8)
        write_volume(films / f"{number:02}_4CH.nii.gz", grey, (2.0, 1.0))
    video = cv2.VideoWriter(str(films / VIDEO), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE[::-1])
    for _ in range(FRAMES):
        video.write(np.full((*SIZE, 3), 90, np.uint8))
    video.release()
    options = ServeOptions(films=films, save_dir=folder / "private", crop=False)
    with running(create_app(disc_model(), options, start_clicks=disc_session)) as address:
        yield address


class Page:
    """The page with a film, untouched; and what the server has of it."""

    def __init__(self, page: Any, ratio: float) -> None:
        self.page, self.ratio = page, ratio

    def open(self, name: str) -> None:
        self.page.select_option("#films", label=name)
        self.page.locator("#film-name", has_text=name).wait_for()
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_selector("#canvas[data-shown]:not([aria-busy])")
        self.page.wait_for_timeout(60)
        self.page.wait_for_selector("#canvas[data-shown]:not([aria-busy])")

    def ask(self, what: str) -> Any:
        self.settle()
        script = "performance.getEntriesByType('resource').map(({ name }) => name)"
        keys = re.findall(r"api/open/([^/?]+)", " ".join(self.page.evaluate(script)))
        answer = self.page.request.get(f"{self.page.url}api/open/{keys[-1]}/{what}")
        return answer.json()

    def maps(self) -> np.ndarray:
        found = np.zeros((FRAMES, *SIZE), bool)
        for mask, named in zip(found, self.ask("masks?start=0&stop=9")["masks"], strict=True):
            if "lv" in named:
                runs = named["lv"]
                mask.flat[np.repeat(np.arange(len(runs)) % 2 == 1, runs)] = True
        return found

    def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """The middle of a pixel, while the image is fitted to the stage."""
        box = self.page.locator("#canvas").bounding_box()
        width = min(box["width"], box["height"] * self.ratio)
        height = width / self.ratio
        left = box["x"] + (box["width"] - width) / 2
        top = box["y"] + (box["height"] - height) / 2
        return left + (x + 0.5) / SIZE[1] * width, top + (y + 0.5) / SIZE[0] * height

    def click(self, x: float, y: float, **how: Any) -> None:
        self.page.mouse.click(*self.on_screen(x, y), **how)
        self.settle()

    def drag(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.on_screen(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.on_screen(*point), steps=6)
        self.page.mouse.up()
        self.settle()

    def key(self, name: str) -> None:
        self.page.keyboard.press(name)
        self.settle()

    def carry(self) -> None:
        self.page.click("#carry:not([disabled])")
        self.page.get_by_text("Every frame is segmented").wait_for()
        self.settle()

    def numbers(self) -> dict[str, str]:
        self.settle()
        names = self.page.locator("#numbers dt").all_inner_texts()
        return dict(zip(names, self.page.locator("#numbers dd").all_inner_texts(), strict=True))


@pytest.fixture(scope="module")
def shown(address, showing) -> Iterator[Page]:
    with showing(address) as page:
        yield Page(page, RATIO)


@pytest.fixture(scope="module")
def unseen() -> Iterator[str]:
    """Names of films that nobody has worked on."""
    return (f"{number:02}_4CH.nii.gz" for number in range(FILMS))


@pytest.fixture
def page(shown, unseen) -> Page:
    shown.open(next(unseen))
    shown.key("p")
    return shown


def test_a_stroke_changes_exactly_its_pixels(page) -> None:
    page.click(30, 20)
    before = page.maps()
    page.key("d")
    page.key("[")
    line = [(12, 10), (40, 12), (40, 30)]
    with page.page.expect_request("**/strokes") as sent:
        page.drag(*line)
    stroke = sent.value.post_data_json
    assert (stroke["frame"], stroke["structure"], stroke["erase"]) == (0, "lv", False)
    for wanted, found in ((line[0], stroke["points"][0]), (line[-1], stroke["points"][-1])):
        assert found == pytest.approx(wanted, abs=1)
    where = covered(np.array(stroke["points"]), stroke["radius"], SIZE)
    after = page.maps()
    np.testing.assert_array_equal(after[0], before[0] | where)
    assert where.sum() > 100
    # The page itself computes the same pixels.
    script = """async ({ points, radius }) => {
      const { cover } = await import("./brush.js");
      const marks = new Uint8Array(40 * 60);
      let last = points[0];
      for (const point of points) {
        cover(marks, 60, 40, last, point, radius);
        last = point;
      }
      return [...marks];
    }"""
    marks = np.reshape(page.page.evaluate(script, stroke), SIZE)
    np.testing.assert_array_equal(marks, where)
    page.page.keyboard.down("Shift")
    with page.page.expect_request("**/strokes") as sent:
        page.drag((30, 5), (30, 35))
    page.page.keyboard.up("Shift")
    erased = covered(np.array(sent.value.post_data_json["points"]), stroke["radius"], SIZE)
    np.testing.assert_array_equal(page.maps()[0], after[0] & ~erased)
    for state in (after, before):
        page.key("Control+z")
        np.testing.assert_array_equal(page.maps(), state)
    page.key("Control+Shift+z")
    np.testing.assert_array_equal(page.maps(), after)


def test_a_carry_is_one_step(page) -> None:
    page.click(30, 20)
    one = page.maps()
    page.carry()
    many = page.maps()
    assert many.any(axis=(1, 2)).all()
    page.page.click("#undo")
    np.testing.assert_array_equal(page.maps(), one)
    page.page.click("#redo")
    np.testing.assert_array_equal(page.maps(), many)
    page.page.click("#reset:not([disabled])")
    assert not page.maps().any()
    page.key("Control+z")
    np.testing.assert_array_equal(page.maps(), many)
    page.key("Control+z")
    page.key("Control+z")
    assert not page.maps().any()
    assert page.ask("clicks") == []


def test_carry_goes_where_it_is_told(page) -> None:
    page.key("End")
    page.key("ArrowLeft")
    page.click(30, 20)
    page.page.select_option("#way", "backward")
    page.carry()
    assert page.maps().any(axis=(1, 2)).tolist() == [True] * 4 + [False]
    page.page.select_option("#way", "both")


def test_a_box_is_moved_and_resized(page) -> None:
    def box() -> list[float]:
        (prompt,) = page.ask("clicks")
        return prompt["box"]

    page.key("b")
    page.drag((10, 8), (30, 28))
    assert box() == [10, 8, 30, 28]
    page.drag((20, 18), (27, 15))
    assert box() == [17, 5, 37, 25]
    page.drag((37, 25), (45, 35))  # a corner
    assert box() == [17, 5, 45, 35]
    page.drag((17, 20), (5, 20))  # an edge
    assert box() == [5, 5, 45, 35]
    page.drag((25, 20), (90, 20))  # no farther than the image
    assert box() == [19, 5, 59, 35]
    page.key("Control+z")
    assert box() == [5, 5, 45, 35]


def test_a_click_on_the_enlarged_image_is_on_its_pixel(page) -> None:
    page.click(30, 20)
    x, y = page.on_screen(14, 31)
    page.page.mouse.move(x, y)
    for _ in range(4):
        page.page.mouse.wheel(0, -200)
        page.page.wait_for_timeout(100)
    factor = np.exp(4 * 200 * 0.002)
    across, down = (np.subtract(page.on_screen(15, 32), (x, y)) * factor).tolist()
    page.page.mouse.click(x, y)
    page.settle()
    page.page.mouse.click(x + 2 * across, y - 3 * down, button="right")
    page.settle()
    # Dragged, the image moves, and nothing is clicked.
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + 2 * across, y, steps=5)
    page.page.mouse.up()
    page.page.mouse.click(x + 2 * across, y)
    page.settle()
    (prompt,) = page.ask("clicks")
    assert prompt["points"] == [[30, 20], [14, 31], [16, 28], [14, 31]]
    assert prompt["labels"] == [1, 1, 0, 1]
    page.key("0")
    page.click(50, 5)
    assert page.ask("clicks")[0]["points"][-1] == [50, 5]


def test_keys_alone_paint_and_box(page) -> None:
    page.page.locator("#canvas").focus()
    page.key("d")
    page.key("c")
    page.key("Enter")
    radius = float(page.page.input_value("#size"))
    np.testing.assert_array_equal(page.maps()[0], covered(np.array([[30, 20]]), radius, SIZE))
    page.key("x")
    page.key("Enter")
    assert not page.maps().any()
    page.key("x")
    page.key("b")
    page.key("Enter")
    page.key("Shift+ArrowRight")
    page.key("Shift+ArrowDown")
    page.key("Enter")
    assert page.ask("clicks")[0]["box"] == [30, 20, 40, 30]
    page.key("Escape")


def test_a_key_goes_to_the_next_flagged_frame(page) -> None:
    page.click(30, 20)
    page.carry()
    page.key("d")
    page.page.keyboard.press("End")
    page.settle()
    page.click(3, 3)  # a second piece
    page.page.keyboard.press("Home")
    page.key("f")
    flagged = [frame for frame, flags in enumerate(page.ask("measures")["flags"]) if flags]
    assert 4 in flagged
    seen = []
    page.key("Home")
    for _ in flagged:
        page.key("f")
        seen.append(int(page.page.get_attribute("#canvas", "data-shown").split(":")[0]))
    assert sorted(seen) == flagged
    page.key("End")
    assert "in several pieces" in page.page.inner_text("#flags")
    assert page.page.locator("#curve .flag").count() == len(flagged)
    assert page.page.locator("#curve .corrected").count() == 2


def test_ed_and_es_that_are_set_change_the_ef(page) -> None:
    page.click(30, 20)
    page.carry()
    told = page.numbers()
    assert told["ED"] == "frame 1"
    page.key("ArrowRight")
    page.key("e")
    page.key("End")
    page.key("ArrowLeft")
    page.page.click("#set-es")
    found = page.numbers()
    assert (found["ED"], found["ES"]) == ("frame 2, set", "frame 4, set")
    assert found["Ejection fraction"] != told["Ejection fraction"]
    page.key("s")  # no longer
    page.key("Control+z")
    assert page.numbers() == found
    assert page.page.get_attribute("#set-es", "aria-pressed") == "true"


def test_spacing_that_is_typed_gives_ml(shown, unseen) -> None:
    shown.ratio = 60 / 40
    shown.open(VIDEO)
    assert shown.page.is_visible("#spacing-form")
    shown.key("p")
    shown.click(30, 20)
    shown.carry()
    assert "EDV" not in shown.numbers()
    shown.page.fill("#spacing-y", "2")
    shown.page.fill("#spacing-x", "1")
    shown.page.click("#spacing-form button")
    shown.page.get_by_text("in mm and ml now").wait_for()
    assert shown.numbers()["EDV"].endswith(" ml")
    assert "2 mm" in shown.page.inner_text("#facts")
    shown.ratio = RATIO
    shown.page.click("#undo")
    assert "EDV" not in shown.numbers()
    shown.open(next(unseen))
    assert shown.page.is_hidden("#spacing-form")


def test_a_phone_by_touch_alone(address, showing, unseen) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with showing(address, **phone) as browser_page:
        page = Page(browser_page, RATIO)
        page.open(next(unseen))
        touch = browser_page.context.new_cdp_session(browser_page)

        def fingers(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        def tap(x: float, y: float) -> None:
            browser_page.touchscreen.tap(*page.on_screen(x, y))
            page.settle()

        tap(30, 20)
        browser_page.tap("label:has([name=sign][value=remove])")
        tap(5, 5)
        (prompt,) = page.ask("clicks")
        assert (prompt["points"], prompt["labels"]) == ([[30, 20], [5, 5]], [1, 0])
        # Two fingers enlarge and click nothing.
        x, y = page.on_screen(30, 20)
        fingers("touchStart", (x - 20, y))
        fingers("touchStart", (x - 20, y), (x + 20, y))
        for step in (25, 30, 40):
            fingers("touchMove", (x - step, y), (x + step, y))
        fingers("touchEnd")
        browser_page.tap("label:has([name=sign][value=add])")
        browser_page.tap("label:has([name=tool][value=brush])")
        assert len(page.ask("clicks")[0]["points"]) == 2
        before = page.maps()[0]
        with browser_page.expect_request("**/strokes") as sent:
            fingers("touchStart", (x, y - 30))
            fingers("touchMove", (x + 10, y - 30))
            fingers("touchEnd")
        stroke = sent.value.post_data_json
        length = np.hypot(*np.subtract(stroke["points"][-1], stroke["points"][0]))
        pixel = page.on_screen(1, 0)[0] - page.on_screen(0, 0)[0]
        assert length == pytest.approx(10 / (2 * pixel), abs=0.5)  # twice as large
        where = covered(np.array(stroke["points"]), stroke["radius"], SIZE)
        np.testing.assert_array_equal(page.maps()[0], before | where)
        browser_page.tap("#zoom-fit")
        browser_page.tap("#carry:not([disabled])")
        browser_page.get_by_text("Every frame is segmented").wait_for()
        assert page.maps().any(axis=(1, 2)).all()
        browser_page.tap("#undo")
        assert page.maps().any(axis=(1, 2)).sum() == 1
        assert browser_page.evaluate("document.documentElement.scrollWidth") <= 390
