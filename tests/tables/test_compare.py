from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up_runs import films, results, write_run

from echozoo.evaluation.functional.paired import holm
from echozoo.tables.collect import collect
from echozoo.tables.compare import compare, patient_means
from echozoo.tables.definition import read_definition
from echozoo.tables.planning import plan_table
from echozoo.tables.quantities import QUANTITIES
from echozoo.tables.runs import Settings

PLAIN = {
    ("a", 0, "lv"): 0.8,
    ("a", 1, "lv"): 0.6,
    ("a", 0, "la"): 0.5,
    ("a", 1, "la"): None,
    ("b", 0, "lv"): 0.7,
    ("b", 0, "la"): 0.7,
}
BETTER = {key: None if key == ("b", 0, "la") else 0.9 for key in PLAIN}


def test_patients_are_averaged_over_cases_that_both_have() -> None:
    # a: LV (0.8 + 0.6) / 2, LA 0.5 as image 1 is empty in one row: 0.6; b: LV alone.
    better, plain = patient_means(QUANTITIES["dice"], [results(BETTER)], [results(PLAIN)])
    assert plain == pytest.approx([0.6, 0.7])
    assert better == pytest.approx([0.9, 0.9])
    # An empty prediction that counts as 0 leaves nothing out.
    key = "dice_with_empty_as_0"
    better, plain = patient_means(QUANTITIES[key], [results(BETTER)], [results(PLAIN)])
    assert plain == pytest.approx([(0.7 + 0.25) / 2, 0.7])
    assert better == pytest.approx([0.9, 0.45])


def test_seeds_are_averaged_before_patients() -> None:
    seeds = [results({("a", 0, "lv"): value}) for value in (0.6, 0.9)]
    better, plain = patient_means(QUANTITIES["dice"], seeds, [results({("a", 0, "lv"): 0.7})])
    assert (better, plain) == (pytest.approx([0.75]), pytest.approx([0.7]))
    none = patient_means(QUANTITIES["dice"], seeds, [])
    assert [len(side) for side in none] == [0, 0]


def test_frames_are_shares_of_a_patients_frames() -> None:
    first = [films({"a": (2, 10), "b": (3, 6)}), films({"a": (4, 10), "b": (3, 6)})]
    second = [films({"a": (1, 10), "b": (6, 6)})]
    better, plain = patient_means(QUANTITIES["tci"], first, second)
    assert better == pytest.approx([0.3, 0.5])
    assert plain == pytest.approx([0.1, 1.0])


def test_rows_against_their_baselines(write_definition, tmp_path: Path) -> None:
    rows = [
        {"name": "plain", "config": "unet.py"},
        {"name": "timely", "config": "samus_tra.py"},
        {"name": "none", "config": "sam.py"},
    ]
    definition = read_definition(write_definition(rows=rows))
    table = plan_table(definition, Settings(tmp_path / "runs", "phantom", None))
    rng = np.random.default_rng(0)
    plain = {(f"patient{i}", 0, "lv"): float(rng.uniform(0.5, 0.8)) for i in range(8)}
    gain = {key: value + 0.01 * (i + 1) for i, (key, value) in enumerate(plain.items())}
    steady = {f"patient{i}": (i % 3, 10) for i in range(8)}
    write_run(table.rows[0].runs[0], results(plain), films(steady))
    write_run(table.rows[1].runs[0], results(gain), films(steady))
    found = compare(definition, collect(table))
    assert [(one.row, one.baseline, one.quantity) for one in found] == [
        ("timely", "plain", "dice"),
        ("timely", "plain", "tci"),
    ], "the row without a run is left out"
    dice, tci = found
    assert dice.paired.difference.value == pytest.approx(0.045)
    assert dice.paired.p_value == pytest.approx(2 / 2**8)
    assert (tci.paired.difference.value, tci.paired.p_value) == (0.0, 1.0)
    assert [dice.p_holm, tci.p_holm] == pytest.approx(list(holm([2 / 2**8, 1.0])))
