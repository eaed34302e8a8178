from __future__ import annotations

from math import nan

import pytest

from echozoo.tables.cells import count, hours, measured_cell, p_cell, trained_until
from echozoo.tables.collect import Measured
from echozoo.tables.quantities import QUANTITIES


@pytest.mark.parametrize(
    ("key", "measured", "text"),
    [
        ("dice", Measured(0.912, 0.901, 0.9225, 0.0031, 9, 10), "91.20 (90.10-92.25) ± 0.31"),
        ("hd95_mm", Measured(3.456, 3, 4, nan, 9, 10), "3.46 (3.00-4.00)"),
        ("hd95_mm", Measured(3.456, nan, nan, nan, 9, 10), "3.46"),
        ("hd95_mm", Measured(nan, nan, nan, nan, 0, 0), "undefined"),
        (
            "tci",
            Measured(0.125, 0.1, 0.2, 0.01, 12.5, 100),
            "12.5 of 100, 12.5 % (10.0-20.0) ± 1.0",
        ),
        ("error_to_threshold", Measured(0.2014, 0.1, 0.3, nan, 1, 1), "0.201 (0.100-0.300)"),
        ("dice", None, "-"),
    ],
)
def test_measured(key, measured, text) -> None:
    assert measured_cell(QUANTITIES[key], measured) == text


def test_small_things() -> None:
    assert [p_cell(p) for p in (0.0004, 0.0456, 1.0, nan)] == ["<0.001", "0.046", "1.000", "-"]
    assert [count(n) for n in (1234567, 2.5, 3.0)] == ["1,234,567", "2.5", "3"]
    assert [hours(s) for s in ([1], [0], [3600, 5400])] == ["<0.01", "0.00", "1.25"]
    assert trained_until(["epoch_50", "epoch_50", "iter_1", ""]) == "50 epochs / 1 step / -"
    assert trained_until([""]) == "-"
