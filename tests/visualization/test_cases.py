from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echozoo.structures import EchoDataSample
from echozoo.visualization.cases import ExtremeCases


def offer(cases: ExtremeCases, film: int, frame: int, overlap: int, la: bool = False) -> None:
    """Offer an image whose cavity's Dice is overlap / 10."""
    meta = EchoDataSample(
        metainfo=dict(
            patient=f"patient{film:04d}",
            view="4CH",
            sequence=f"patient{film:04d}_4CH",
            structures=("lv", "la"),
            spacing=None,
            native_size=(20, 30),
        )
    )
    reference, prediction = np.zeros((2, 20, 30), np.uint8)
    reference[0, :10] = prediction[0, 10 - overlap : 20 - overlap] = 1
    if la:
        reference[10:12] = 2
    cases.offer(meta, frame, "ED", np.zeros((8, 8), np.uint8), reference, prediction, [True] * 2)


def written(cases: ExtremeCases, folder: Path) -> dict[str, list[tuple[str, int]]]:
    cases.write(folder, height=60)
    found = {"best": [], "worst": []}
    for entry in json.loads((folder / "cases.json").read_text()):
        found[entry["kind"]].append((entry["patient"], entry["frame"]))
        assert (folder / entry["file"]).is_file()
    return found


def test_the_extremes_of_all_films_one_image_each(tmp_path):
    cases = ExtremeCases(2)
    for film, overlaps in enumerate([(5, 6, 9), (1, 2, 8), (0, 4, 10), (3, 7, 7)]):
        for frame, overlap in enumerate(overlaps):
            offer(cases, film, frame, overlap)
    assert written(cases, tmp_path) == {
        "worst": [("patient0002", 0), ("patient0001", 0)],
        "best": [("patient0002", 2), ("patient0000", 2)],
    }
    assert len(cases._best) + len(cases._worst) <= 4


def test_what_comes_last_can_be_the_worst_and_order_does_not_matter(tmp_path):
    images = [(film, frame, (7 * film + 3 * frame) % 11) for film in range(6) for frame in range(4)]
    forth, back, halves = ExtremeCases(3), ExtremeCases(3), [ExtremeCases(3), ExtremeCases(3)]
    for image in images:
        offer(forth, *image)
        offer(halves[image[1] % 2], *image)
    for image in reversed(images):
        offer(back, *image)
    joined = ExtremeCases(3)
    joined.join(halves)
    expected = written(forth, tmp_path)
    assert written(back, tmp_path) == written(joined, tmp_path) == expected


def test_a_small_test_set_is_not_shown_twice(tmp_path):
    cases = ExtremeCases(4)
    offer(cases, 0, 0, 5)
    offer(cases, 1, 0, 6)
    assert written(cases, tmp_path) == {
        "worst": [("patient0000", 0), ("patient0001", 0)],
        "best": [],
    }


def test_what_is_not_found_counts_as_0(tmp_path):
    cases = ExtremeCases(1)
    offer(cases, 0, 0, 10, la=True)
    cases.write(tmp_path, height=60)
    (entry,) = json.loads((tmp_path / "cases.json").read_text())
    assert entry["dice"] == {"lv": 1.0, "la": 0.0}
    assert entry["mean_dice"] == pytest.approx(0.5)


def test_pictures_of_an_earlier_test_are_removed(tmp_path):
    many, few = ExtremeCases(3), ExtremeCases(1)
    for film in range(3):
        offer(many, film, 0, film)
    offer(few, 0, 0, 5)
    many.write(tmp_path, height=60)
    few.write(tmp_path, height=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.json", "worst_1.png"]
    with Image.open(tmp_path / "worst_1.png") as picture:
        assert picture.height > 60


def test_what_is_not_counted_is_no_case_and_has_no_score(tmp_path: Path) -> None:
    meta = EchoDataSample(metainfo=dict(sequence="a", patient="a", view="4CH", spacing=None))
    meta.set_metainfo(dict(structures=("lv", "la"), native_size=(8, 8)))
    image, reference = np.zeros((2, 8, 8), np.uint8)
    reference[:4], reference[5:] = 1, 2
    cases = ExtremeCases(1)
    cases.offer(meta, 0, "ED", image, reference, reference, [False, False])
    assert written(cases, tmp_path) == {"best": [], "worst": []}
    cases.offer(meta, 1, "ES", image, reference, reference, [True, False])
    cases.write(tmp_path, height=60)
    (entry,) = json.loads((tmp_path / "cases.json").read_text())
    assert (entry["frame"], entry["dice"]) == (1, {"lv": 1.0})
