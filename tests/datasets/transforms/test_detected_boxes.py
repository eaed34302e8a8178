"""Boxes of a file and of a detector: in pixels of the network's input, absent ones as NaN."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echozoo.errors import ConfigError, DataError
from echozoo.registry import TRANSFORMS


def prompted(source, num_boxes=2, frames=(0, 3), **changes):
    results = dict(
        images=np.zeros((len(frames), 60, 60), np.uint8),
        structures=("lv", "la"),
        sequence="patient0001_4CH",
        frames=list(frames),
        native_size=(80, 200),
        valid_size=(40, 50),
    )
    transform = TRANSFORMS.build(dict(type="BoxPrompter", source=source, num_boxes=num_boxes))
    return transform(results | changes)["extra_prompts"]["detected_boxes"]


def written(tmp_path, content):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_of_a_file_on_the_grid_of_the_input(tmp_path):
    film = {"0": {"lv": [[0, 0, 199, 79], [20, 10, 40, 30], [1, 1, 2, 2]]}, "3": {}}
    boxes = prompted(written(tmp_path, {"patient0001_4CH": film}))
    assert boxes.shape == (2, 2, 2, 4)
    # A pixel of the input is 2 rows and 4 columns of the file; centres are whole numbers.
    rows, columns = np.arange(80).reshape(40, 2).mean(1), np.arange(200).reshape(50, 4).mean(1)
    wanted = np.interp([20, 40], columns, np.arange(50)), np.interp([10, 30], rows, np.arange(40))
    np.testing.assert_allclose(boxes[0, 0, 1].reshape(2, 2).T, wanted, rtol=1e-6)
    np.testing.assert_allclose(boxes[0, 0, 0], [-0.375, -0.25, 49.375, 39.25])
    assert np.isnan(boxes[0, 1]).all()
    assert np.isnan(boxes[1]).all()


def test_of_a_detector_on_the_frames_without_padding():
    seen = []

    def detect(frames, structures):
        seen.append((frames.shape, structures))
        return [{"la": [1, 2, 3, 4]}, {}]

    boxes = prompted(detect)
    assert seen == [((2, 40, 50), ("lv", "la"))]
    assert boxes[0, 1, 0].tolist() == [1, 2, 3, 4]
    assert np.isfinite(boxes).sum() == 4


def test_of_a_detector_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_detector.py").write_text(
        "def detect(frames, structures):\n    return [{'lv': [[0, 1, 2, 3]]}] * len(frames)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert prompted("my_detector:detect")[1, 0, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match="my_detector:nothing.*cannot be imported"):
        prompted("my_detector:nothing")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "nothing of frame 0 of patient0001_4CH"),
        ({"patient0001_4CH": {"0": {}}}, "nothing of frame 3"),
        ({"patient0001_4CH": {"0": {"lv": [5, 5, 4, 6]}, "3": {}}}, "x1 <= x2"),
        ({"patient0001_4CH": {"0": {"lv": [1, 2, 3]}, "3": {}}}, "boxes .1, 2, 3. of lv"),
        ({"patient0001_4CH": {"0": {"lv": "left"}, "3": {}}}, "boxes left of lv"),
    ],
)
def test_says_what_is_wrong_in_a_file(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        prompted(written(tmp_path, content))


def test_says_what_is_no_source(tmp_path):
    with pytest.raises(ConfigError, match="found no source"):
        prompted(None)
    with pytest.raises(ConfigError, match="absent.json: cannot be read"):
        prompted(str(tmp_path / "absent.json"))
    (tmp_path / "boxes.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="found a list"):
        prompted(str(tmp_path / "boxes.json"))
    (tmp_path / "boxes.json").write_text("{")
    with pytest.raises(ConfigError, match="found no JSON"):
        prompted(str(tmp_path / "boxes.json"))
    with pytest.raises(DataError, match="boxes of 1 frames, wants 2"):
        prompted(lambda frames, structures: [{}])
