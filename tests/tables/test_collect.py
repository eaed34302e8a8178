from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import films, results, write_run

from echozoo.errors import DataError
from echozoo.evaluation.functional.aggregate import summarise
from echozoo.tables.collect import collect, measure, read_tested
from echozoo.tables.definition import read_definition
from echozoo.tables.planning import plan_table
from echozoo.tables.quantities import QUANTITIES
from echozoo.tables.runs import Settings
from echozoo.tables.write import write_table

# Patient a has two images, b one. By hand: seed 0 has LV (0.9 + 0.8 + 0.7) / 3 = 0.8 and LA
# (0.6 + 0.5 + 0.7) / 3 = 0.6, mean 0.7; seed 1 LV 0.9, LA (0.5 + 0.9) / 2 = 0.7, mean 0.8.
FIRST = {
    ("a", 0, "lv"): 0.9,
    ("a", 1, "lv"): 0.8,
    ("b", 0, "lv"): 0.7,
    ("a", 0, "la"): 0.6,
    ("a", 1, "la"): 0.5,
    ("b", 0, "la"): 0.7,
}
SECOND = {
    ("a", 0, "lv"): 0.9,
    ("a", 1, "lv"): 0.9,
    ("b", 0, "lv"): 0.9,
    ("a", 0, "la"): None,
    ("a", 1, "la"): 0.5,
    ("b", 0, "la"): 0.9,
}


def test_means_over_seeds_by_hand() -> None:
    runs = [results(FIRST), results(SECOND)]
    dice = measure(QUANTITIES["dice"], runs)
    assert dice.value == pytest.approx(0.75)
    assert dice.seed_sd == pytest.approx(0.1 / math.sqrt(2))
    assert dice.low < 0.75 < dice.high
    assert measure(QUANTITIES["dice_la"], runs).value == pytest.approx(0.65)
    empty_as_0 = measure(QUANTITIES["dice_with_empty_as_0"], runs)
    assert empty_as_0.value == pytest.approx((0.7 + (0.9 + 1.4 / 3) / 2) / 2)
    empty = measure(QUANTITIES["empty"], runs)
    assert (empty.amount, empty.total) == (0.5, 6)
    assert empty.value == pytest.approx(0.5 / 6)


def test_two_patients_make_an_interval_of_four_draws() -> None:
    # Draws of two patients: aa, ab, ba, bb. Means over images of aa and bb are the extremes.
    dice = measure(QUANTITIES["dice_lv"], [results(FIRST)])
    assert (dice.low, dice.high) == pytest.approx((0.7, 0.85))
    assert math.isnan(dice.seed_sd)


def test_one_seed_is_what_its_own_report_says() -> None:
    rng = np.random.default_rng(0)
    cases = {
        (p, f, s): rng.uniform(0.5, 1) for p in "abcdefg" for f in range(3) for s in ("lv", "la")
    }
    rows = results(cases)
    (summary,) = [
        s
        for s in summarise(rows, ["dice"], ["lv", "la"])
        if (s.instant, s.view, s.structure) == ("all", "all", "mean")
    ]
    own, here = summary.estimates["dice"], measure(QUANTITIES["dice"], [rows])
    assert (here.value, here.low, here.high) == pytest.approx((own.mean, own.low, own.high))


def test_frames_and_sequences_of_judged_films() -> None:
    runs = [
        films({"a": (2, 10), "b": (0, 6), "c": None}),
        films({"a": (3, 10), "b": (1, 6), "c": None}),
    ]
    tci = measure(QUANTITIES["tci"], runs)
    assert (tci.amount, tci.total) == (3, 16)
    assert tci.value == pytest.approx(3 / 16)
    bad = measure(QUANTITIES["bad_sequences"], runs)
    assert (bad.amount, bad.total, bad.value) == (1.5, 2, 0.75)
    assert measure(QUANTITIES["tci"], [films({"a": None})]) is None, "stills"
    assert measure(QUANTITIES["tci"], [[]]) is None, "no temporal.csv"
    assert measure(QUANTITIES["tci"], []) is None


def test_errors_of_the_ejection_fraction_are_of_patients_who_have_one() -> None:
    percent = {"a": (50.0, 60.0), "b": (63.0, 60.0), "c": (math.nan, 60.0), "d": (55.0, math.nan)}
    rows = [
        {"patient": name, "ef_percent": found, "reference_ef_percent": wanted}
        for name, (found, wanted) in percent.items()
    ]
    error = measure(QUANTITIES["ef_error"], [rows])
    assert (error.value, error.total) == (6.5, 2)
    assert measure(QUANTITIES["ef_error"], [[]]) is None, "no ef.csv"


def test_absent_structures_are_no_cases_and_a_structure_never_found_has_no_mean() -> None:
    rows = results(FIRST, absent=[("b", 0, "la"), ("a", 1, "la")])
    assert measure(QUANTITIES["dice_la"], [rows]).value == pytest.approx(0.6)
    assert measure(QUANTITIES["empty"], [rows]).total == 4
    never = results({("a", 0, "lv"): 0.9, ("a", 0, "la"): None})
    dice = measure(QUANTITIES["dice"], [never])
    assert math.isnan(dice.value)
    assert math.isnan(dice.low)


def test_rows_without_a_finished_run_stay_empty(write_definition, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "runs", "phantom", "tiny", (0, 1, 2))
    table = plan_table(read_definition(write_definition()), settings)
    plain, timely = table.rows
    write_run(plain.runs[0], results(FIRST), films({"a": (1, 4)}))
    write_run(plain.runs[2], results(SECOND), films({"a": (2, 4)}))
    write_run(timely.runs[0], results(FIRST), tested=False)
    first, second = collect(table)
    assert [one.run.seed for one in first.tested] == [0, 2]
    assert first.measured["dice"].value == pytest.approx(0.75)
    assert (first.measured["tci"].amount, first.measured["tci"].total) == (1.5, 4)
    assert (second.tested, second.measured) == ((), {})
    assert not first.tested[0].stale
    changed = replace(plain.runs[0], cfg_options=("train_cfg.max_epochs=7",))
    assert read_tested(changed).stale


def test_folds_are_pooled_and_each_patient_counts_once(write_definition, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "runs", "phantom", "tiny", (0, 1), folds=(1, 2))
    table = plan_table(read_definition(write_definition()), settings)
    parts = [[row for row in results(FIRST) if row["patient"] == name] for name in "ab"]
    bad = [films({"a": (1, 4)}), films({"b": (0, 2)})]
    for run in table.rows[0].runs:
        if (run.seed, run.fold) != (1, 2):
            write_run(run, parts[run.fold - 1], bad[run.fold - 1])
            reference = dict(frames=4, inconsistent_frames=run.fold, sequences=1)
            reference |= dict(inconsistent_sequences=1, inconsistent_frames_ratio=0.5, by={"x": {}})
            if run.seed == 1:  # of stills nothing is counted
                reference = dict.fromkeys(reference)
            limits = dict(name="toy", provenance="made up")
            content = {"reference": reference, "limits": limits}
            (run.folder / "temporal.json").write_text(json.dumps(content))
    (result, _) = collect(table)
    assert len(result.tested) == 3
    assert [[one.run.fold for one in pool] for pool in result.pools] == [[1, 2]], "seed 1 lacks one"
    whole = measure(QUANTITIES["dice"], [results(FIRST)])
    assert result.measured["dice"] == pytest.approx(whole, nan_ok=True)
    assert (result.measured["tci"].amount, result.measured["tci"].total) == (1, 6)
    (files,) = write_table(table.definition, [result, _], [], tmp_path, "echozoo table toy")[:1]
    text = files.read_text()
    assert "- data: phantom, split=fold1 + fold2: 2 test patients, 3 images" in text
    assert "reference masks have 3 of 8 frames inconsistent, in 2 of 2 sequences" in text
    assert "plain: not run with seed 1 on fold 2; a seed counts with all of its folds." in text
    assert "| plain | 1 | " in text


def test_a_record_of_another_kind_is_refused(write_definition, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "runs", "phantom", "tiny")
    run = plan_table(read_definition(write_definition()), settings).rows[0].runs[0]
    assert read_tested(run) is None
    run.folder.mkdir(parents=True)
    for text in ('{"colour": 1}', "[", "{}"):
        (run.folder / "run.json").write_text(text)
        with pytest.raises(DataError, match=r"run.json: .*delete the folder to run it again"):
            read_tested(run)
