from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echozoo.visualization.agreement import Pairs, plot_agreement

cv2 = pytest.importorskip("cv2")


def drawn(path: Path, *quantities: Pairs) -> np.ndarray:
    plot_agreement(quantities, path)
    return cv2.imread(str(path))


def test_a_row_a_quantity_with_points_and_lines(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ef = rng.normal(50, 10, 30)
    ours = ef + rng.normal(0, 4, 30)
    one = drawn(tmp_path / "new/one.png", Pairs("EF", "%", ours, ef, "points"))
    two = drawn(
        tmp_path / "two.png", Pairs("EF", "%", ours, ef, "points"), Pairs("EDV", "ml", ours, ef)
    )
    assert two.shape[0] == pytest.approx(2 * one.shape[0], abs=2)
    # Both panels have orange-brown lines or blue points: something is drawn in each half.
    saturated = np.ptp(one.astype(int), axis=2) > 100
    half = one.shape[1] // 2
    assert saturated[:, :half].sum() > 1000
    assert saturated[:, half:].sum() > 1000


def test_missing_numbers_and_empty_quantities_are_left_out(tmp_path: Path) -> None:
    nan = float("nan")
    some = Pairs("EF", "%", [50, nan, 61], [52, 40, nan])
    alone = drawn(tmp_path / "alone.png", Pairs("EF", "%", [50], [52]))
    both = drawn(tmp_path / "both.png", some, Pairs("EDV", "ml", [nan], [3]))
    assert np.array_equal(alone, both)
    nothing = drawn(tmp_path / "none.png", Pairs("EDV", "ml", [], []))
    assert nothing.shape[0] == alone.shape[0]
