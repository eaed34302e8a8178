"""Masks of a film: clicked over carried, compressed, as runs."""

from __future__ import annotations

import numpy as np
import pytest

from echozoo.datasets.anatomy import Structure
from echozoo.serve.masks import MaskStore, run_lengths

SIZE = (6, 9)


def random_mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SIZE) > 0.5


@pytest.mark.parametrize(
    ("mask", "runs"),
    [
        ([[0, 1, 1], [0, 0, 1]], [1, 2, 2, 1]),
        ([[1, 1], [1, 0]], [0, 3, 1]),
        ([[0, 0], [0, 0]], [4]),
        ([[1, 1], [1, 1]], [0, 4]),
    ],
)
def test_run_lengths(mask, runs) -> None:
    assert run_lengths(np.array(mask, bool)) == runs


def test_clicked_lies_over_carried() -> None:
    store = MaskStore(("lv", "la"), SIZE)
    labels = np.zeros(SIZE, np.uint8)
    labels[:2], labels[4:] = Structure.LV, Structure.LA
    store.carry(1, labels, ("lv", "la"))
    assert np.array_equal(store.frame(1)["lv"], labels == Structure.LV)
    mask = random_mask(0)
    store.click(1, mask * np.uint8(Structure.LV), ("lv",))
    assert np.array_equal(store.frame(1)["lv"], mask)
    assert np.array_equal(store.frame(1)["la"], (labels == Structure.LA) & ~mask)
    store.unclick(1)
    assert np.array_equal(store.label_map(1), labels)
    assert store.changes == {1: 3}
    store.clear()
    assert store.frame(1) == {}
    assert store.sought(1) == ()


def test_a_click_that_found_nothing_hides_what_was_carried() -> None:
    store = MaskStore(("lv", "myo", "la"), SIZE)
    carried = np.full(SIZE, Structure.LA, np.uint8)
    carried[0] = Structure.LV
    store.carry(0, carried, ("lv", "la"))
    store.click(0, np.zeros(SIZE, np.uint8), ("lv",))
    assert list(store.frame(0)) == ["la"]
    assert store.sought(0) == ("lv", "la")
    assert np.array_equal(store.label_map(0), np.where(carried == Structure.LA, 3, 0))


def test_a_structure_that_was_lost_was_looked_for_and_has_no_mask() -> None:
    store = MaskStore(("lv",), SIZE)
    store.carry(0, np.zeros(SIZE, np.uint8), ("lv",))
    assert store.frame(0) == {}
    assert store.sought(0) == ("lv",)
    assert store.sought(1) == ()
