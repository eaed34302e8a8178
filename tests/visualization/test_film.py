from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echozoo.datasets.anatomy import palette
from echozoo.visualization.film import comparison, display_size, write_gif


@pytest.mark.parametrize(
    ("native", "spacing", "size"),
    [
        ((100, 120), (0.3, 0.3), (360, 432)),
        ((200, 120), (0.15, 0.3), (360, 432)),  # oblong pixels of the older layout
        ((100, 300), None, (180, 540)),
    ],
)
def test_anatomy_is_shown_in_its_proportions(
    native: tuple[int, int], spacing: tuple[float, float] | None, size: tuple[int, int]
) -> None:
    assert display_size(native, spacing) == size


def compose(prediction: np.ndarray) -> np.ndarray:
    reference = np.zeros((40, 50), np.uint8)
    reference[10:30, 10:30] = 1
    image = np.full((32, 32), 60, np.float32)
    return comparison(
        image, reference, prediction, ("lv",), (200, 250), "patient0001 · 4CH", "frame 0 · ED"
    )


def test_reference_left_prediction_right() -> None:
    prediction = np.zeros((40, 50), np.uint8)
    prediction[10:30, 10:20] = 1
    picture = compose(prediction)
    assert picture.dtype == np.uint8
    line = np.abs(picture.astype(int) - palette(("lv",))[0]).max(axis=-1) <= 30
    line[-30:] = False  # the legend
    left, right = np.split(line, 2, axis=1)
    assert np.ptp(np.nonzero(left)[1]) == pytest.approx(100, abs=4)
    assert np.ptp(np.nonzero(right)[1]) == pytest.approx(50, abs=4)


def test_the_score_is_in_the_picture() -> None:
    empty, full = np.zeros((40, 50), np.uint8), np.ones((40, 50), np.uint8)
    assert not np.array_equal(compose(empty)[-30:], compose(full)[-30:])


def test_a_gif_has_every_frame_and_lasts(tmp_path: Path) -> None:
    frames = [np.full((20, 30, 3), value, np.uint8) for value in (10, 90, 200)]
    frames[1][5:10, 5:10] = palette()[0]
    write_gif(tmp_path / "film.gif", frames, fps=5)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3
        assert film.info["duration"] == 200
        assert film.info["loop"] == 0
        film.seek(1)
        shown = np.asarray(film.convert("RGB")).astype(int)
    assert np.abs(shown - frames[1]).max() <= 8


def test_frames_that_are_alike_are_kept(tmp_path: Path) -> None:
    write_gif(tmp_path / "film.gif", [np.zeros((8, 8, 3), np.uint8)] * 4, fps=4)
    with Image.open(tmp_path / "film.gif") as film:
        durations = []
        for index in range(film.n_frames):
            film.seek(index)
            durations.append(film.info["duration"])
    assert sum(durations) == 1000
