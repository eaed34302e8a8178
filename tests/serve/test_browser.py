"""The page in a real browser, before a real server: click, see, carry, download."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from mmengine.config import Config

from echozoo.apis import ClickSession, load_model, open_film
from echozoo.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
SIZE = (90, 120)  # (H, W)
FRAMES = 4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tiny_configs: Path) -> Path:
    return tiny_configs / "samus_tra.py"


@pytest.fixture(scope="module")
def checkpoint(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with random weights: its masks mean nothing, but are the same everywhere."""
    torch.manual_seed(3)
    network = MODELS.build(Config.fromfile(config).model)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({"state_dict": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def film(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of the phantom that lies somewhere in space, its pixels not square."""
    source = next(phantom.rglob("*_4CH_half_sequence.nii.gz"))
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(source)))
    image = sitk.GetImageFromArray(np.resize(frames, (FRAMES, *SIZE)))
    image.SetSpacing((0.9, 1.2, 1.0))
    image.SetOrigin((12.0, -34.0, 5.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    path = tmp_path_factory.mktemp("films") / "a film.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def fresh_film(film: Path, tmp_path: Path) -> Path:
    """A film of the same form that nobody has worked on."""
    image = sitk.ReadImage(str(film))
    noise = np.random.default_rng().integers(0, 20, (FRAMES, *SIZE), np.uint8)
    fresh = sitk.GetImageFromArray(sitk.GetArrayFromImage(image) // 2 + noise)
    fresh.CopyInformation(image)
    path = tmp_path / "fresh.nii.gz"
    sitk.WriteImage(fresh, str(path))
    return path


@contextlib.contextmanager
def serving(film: Path, private: Path, *model: object) -> Iterator[tuple[str, Path]]:
    """Address of a server in a process of its own, and the folder of its temporary files."""
    command = [
        sys.executable, str(ROOT / "tools/serve.py"), *map(str, model),
        "--port", "0", "--device", "cpu", "--films", str(film.parent),
    ]  # fmt: skip
    environment = {**os.environ, "XDG_STATE_HOME": str(private), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    said = []
    for line in process.stdout:  # notes about the model come before the address
        said.append(line)
        if line.startswith("http://127.0.0.1:"):
            break
    else:
        pytest.fail("".join(said))
    yield line.split()[0], private
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    assert "Traceback" not in rest
    assert not list(private.rglob("echozoo-serve-*"))  # nothing stays behind


@pytest.fixture(scope="module")
def server(
    config: Path, checkpoint: Path, film: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    with serving(film, tmp_path_factory.mktemp("private"), config, checkpoint) as served:
        yield served


@pytest.fixture
def page(showing: Callable, server: tuple[str, Path]) -> Iterator[Any]:
    with showing(server[0]) as page:
        yield page


def click_at(page: Any, x: int, y: int, **how: Any) -> None:
    """Click on the middle of a pixel (x, y) of the film."""
    box = page.locator("#canvas").bounding_box()
    height, width = SIZE
    ratio = (width * 0.9) / (height * 1.2)
    shown = min(box["width"], box["height"] * ratio)
    left = box["x"] + (box["width"] - shown) / 2
    top = box["y"] + (box["height"] - shown / ratio) / 2
    page.mouse.click(
        left + (x + 0.5) / width * shown, top + (y + 0.5) / height * shown / ratio, **how
    )


def download(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as caught:
        page.click(button)
    path = folder / caught.value.suggested_filename
    caught.value.save_as(path)
    return path


def test_click_carry_measure_download(page, server, film, config, checkpoint, tmp_path) -> None:
    page.set_input_files("#file", str(film))
    page.wait_for_selector('#canvas[data-shown="0:0"]')
    assert page.inner_text("#film-name") == film.name
    assert "120 × 90 px" in page.inner_text("#facts")
    stored = [path for path in server[1].rglob("*") if path.is_file()]
    assert [path.name for path in stored] == ["film.upload"]

    empty = page.locator("#canvas").screenshot()
    click_at(page, 70, 30)
    page.wait_for_selector('#canvas[data-shown="0:1"]')
    click_at(page, 20, 60, button="right")
    page.wait_for_selector("#canvas:not([aria-busy])")
    page.wait_for_selector("#area-lv:not(:empty)")
    assert page.locator("#canvas").screenshot() != empty
    page.wait_for_selector("#carry:not([disabled])")

    page.click("#carry")
    page.get_by_text("Every frame is segmented").wait_for()
    assert page.locator("#curve path").count() == 1
    assert page.locator("#curve path").get_attribute("d").count("L") == FRAMES - 1
    assert f"in {FRAMES} of {FRAMES} frames" in page.get_attribute("#curve", "aria-label")

    masks = sitk.ReadImage(str(download(page, "#get-masks", tmp_path)))
    source = sitk.ReadImage(str(film))
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(masks, name)() == pytest.approx(getattr(source, name)())
    # What was clicked on the screen is what the model is asked for, to the pixel.
    session = ClickSession(load_model(config, checkpoint, device="cpu"), open_film(film))
    expected = session.segment(0, "lv", [[70, 30], [20, 60]], [1, 0])
    labels = sitk.GetArrayFromImage(masks)
    assert 0 < expected.sum() < expected.size
    assert (labels[0] != expected).mean() < 0.001
    assert all((frame == 1).any() for frame in labels)

    table = download(page, "#get-table", tmp_path)
    assert table.name == "a film_measures.csv"
    rows = list(csv.DictReader(table.open()))
    assert float(rows[0]["lv_area_cm2"]) == pytest.approx(
        expected.sum() * 0.9 * 1.2 / 100, rel=0.01
    )


def test_keys_alone(page, fresh_film) -> None:
    page.set_input_files("#file", str(fresh_film))
    page.wait_for_selector('#canvas[data-shown="0:0"]')
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('#canvas[data-shown="1:0"]')
    page.keyboard.press("3")
    assert page.is_checked("#structure-la")
    page.keyboard.press("c")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector('#canvas[data-shown="1:1"]')
    page.keyboard.press("Control+z")
    page.wait_for_selector('#canvas[data-shown="1:0"]')
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    page.wait_for_selector(f'#canvas[data-shown="{FRAMES - 1}:0"]')


def test_says_what_is_wrong_and_fits_a_small_window(page, tmp_path) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    wrong = tmp_path / "film.nii.gz"
    wrong.write_bytes(b"no film at all")
    page.set_input_files("#file", str(wrong))
    page.get_by_text("no known kind").wait_for()
    assert page.is_visible("#welcome")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
