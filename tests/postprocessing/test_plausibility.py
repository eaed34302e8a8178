from __future__ import annotations

import numpy as np
import pytest

from echozoo.postprocessing import MEANINGS, flags
from echozoo.postprocessing.plausibility import frontiers

NAMES = ("lv", "myo", "la")


def heart() -> np.ndarray:
    labels = np.zeros((40, 50), np.uint8)
    labels[4:24, 10:40] = 2
    labels[8:24, 14:36] = 1
    labels[24:34, 14:36] = 3
    return labels


def film(*frames: np.ndarray) -> np.ndarray:
    return np.stack(frames)


def test_a_sound_film_has_none():
    assert flags(film(*[heart()] * 3), NAMES, (0.3, 0.3)) == [[], [], []]
    assert flags(film(heart()), NAMES) == [[]]


def test_pieces_and_holes_are_named_by_structure():
    labels = heart()
    labels[0, 0] = 3
    labels[12, 20] = 0
    assert flags(film(labels), NAMES) == [["la:components", "lv:holes"]]


def test_a_cavity_that_lies_open():
    labels = heart()
    labels[labels == 2] = 0
    labels[4:8, 10:40] = 2  # only the roof of the wall is left
    assert flags(film(labels), NAMES) == [["lv:open"]]
    # An open base alone, without an atrium among the structures, is right.
    labels = heart()
    labels[labels == 3] = 0
    assert flags(film(labels), ("lv", "myo")) == [[]]


def test_the_frontier_is_measured_in_mm():
    labels = heart()
    labels[8:24, 36:] = 0  # one side of the wall is lost
    # 16 rows of side, of 22 + 22 columns and 16 + 16 rows of outline.
    assert flags(film(labels), NAMES, (1.0, 1.0)) == [[]]
    assert flags(film(labels), NAMES, (10.0, 1.0)) == [["lv:open"]]


def test_an_atrium_along_the_wall():
    labels = heart()
    labels[10:24, 40:44] = 3
    labels[22:28, 36:44] = 3
    assert flags(film(labels), NAMES) == [["myo:at_atrium"]]


def test_what_a_frame_lost_and_others_have():
    lost = heart()
    lost[lost == 3] = 0
    assert flags(film(heart(), lost, heart()), NAMES) == [[], ["la:empty"], []]
    assert flags(film(lost, lost), NAMES) == [[], []]  # nowhere: perhaps it is not in the film


def test_a_jump_of_the_area_between_frames_that_are_neighbours():
    big = heart()
    big[34:38, 14:36] = 3  # the atrium's 10 rows become 14
    films = film(heart(), heart(), big, heart(), heart())
    found = flags(films, NAMES)
    assert found[2] == ["la:area_jump"]
    assert found[0] == found[4] == []
    assert flags(films, NAMES, frames=(0, 2, 4, 6, 8)) == [[]] * 5


def test_a_steady_change_is_no_jump():
    films = []
    for rows in range(10):
        labels = heart()
        labels[24 + 10 - rows : 34, 14:36] = 0
        films.append(labels)
    assert flags(film(*films), NAMES)[:9] == [[]] * 9


def test_borders_by_hand():
    labels = np.array([[0, 0, 0], [0, 1, 2], [0, 1, 2]])
    lengths = frontiers(labels, 3, (2.0, 1.0))
    assert lengths.tolist() == [[0, 5, 1], [5, 0, 4], [1, 4, 0]]


def test_every_flag_has_a_meaning():
    labels = heart()
    labels[labels == 2] = 0
    labels[0, :5] = labels[12, 20] = 2
    found = sum(flags(film(heart(), labels, heart()), NAMES), [])
    assert found
    assert {flag.split(":")[1] for flag in found} <= set(MEANINGS)


def test_references_of_camus_have_none(shared):
    sitk = pytest.importorskip("SimpleITK")
    paths = sorted((shared / "data/camus_mini/database_nifti").glob("*/*_gt.nii.gz"))[:20]
    paths += sorted((shared / "data/camus_mhd").rglob("*_gt.mhd"))
    assert paths
    for path in paths:
        image = sitk.ReadImage(str(path))
        labels = sitk.GetArrayFromImage(image).reshape(1, *image.GetSize()[1::-1]).astype(np.uint8)
        assert flags(labels, NAMES, image.GetSpacing()[1::-1]) == [[]], path.name
