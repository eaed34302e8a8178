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
    store = MaskStore(3, (Structure.LV, Structure.LA), SIZE)
    labels = np.zeros(SIZE, np.uint8)
    labels[:2], labels[4:] = Structure.LV, Structure.LA
    store.carry(1, labels)
    assert np.array_equal(store.frame(1)[0], labels == 1)
    mask = random_mask(0)
    store.click(1, 0, mask)
    assert np.array_equal(store.frame(1)[0], mask)
    atrium = (labels == Structure.LA) & ~mask
    assert np.array_equal(store.frame(1)[1], atrium)
    assert store.pixels[1].tolist() == [mask.sum(), atrium.sum()]
    assert (store.pixels[[0, 2]] == -1).all()
    store.unclick(1, 0)
    assert np.array_equal(store.label_map(1), labels)
    store.clear()
    assert store.frame(1) == {}
    assert (store.pixels == -1).all()


def test_the_first_structure_stays_where_masks_overlap() -> None:
    store = MaskStore(1, (Structure.LV, Structure.MYO, Structure.LA), SIZE)
    masks = [random_mask(seed) for seed in (1, 2, 3)]
    for k, mask in enumerate(masks):
        store.click(0, k, mask)
    labels = store.label_map(0)
    assert np.array_equal(labels == 1, masks[0])
    assert np.array_equal(labels == 2, masks[1] & ~masks[0])
    assert np.array_equal(labels == 3, masks[2] & ~masks[1] & ~masks[0])
    for k, mask in store.frame(0).items():  # what is shown is what is written
        assert np.array_equal(mask, labels == k + 1)
        assert store.pixels[0, k] == mask.sum()


def test_a_structure_that_was_lost_has_no_mask() -> None:
    store = MaskStore(1, (Structure.LV,), SIZE)
    store.carry(0, np.zeros(SIZE, np.uint8))
    assert store.frame(0) == {}
    assert store.pixels.tolist() == [[-1]]
