from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from echozoo.errors import ConfigError
from echozoo.evaluation.functional import Estimate, Summary
from echozoo.evaluation.report import flags_note, results_table, write_csv, write_json

NAN = math.nan
BOOTSTRAP = {"n_resamples": 10, "seed": 0}


def summary(instant="all", view="all", structure="lv", num_empty=0, **means: float) -> Summary:
    means = means or {"dice": 0.9312, "dice_with_empty_as_0": 0.9, "hd_mm": 5.25, "hd_px": 9.0}
    estimates = {name: Estimate(mean, mean - 0.01, mean + 0.01, 8) for name, mean in means.items()}
    return Summary(instant, view, structure, 8, 4, num_empty, 0, estimates)


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == [start])


def test_a_row_shows_counts_means_and_intervals() -> None:
    lines = results_table([summary(num_empty=2), summary(structure="mean", num_empty=2)]).split(
        "\n"
    )
    assert lines[0] == "4 patients, 8 images"
    place = next(i for i, line in enumerate(lines) if line.strip().startswith("lv"))
    assert lines[place].split() == ["lv", "8", "2", "0", "0.931", "0.900", "5.25", "9.00"]
    assert lines[place + 1].split()[0] == "0.921-0.941"
    assert max(map(len, lines)) <= 120
    assert "…" not in "".join(lines)


def test_groups_follow_instants_before_views_and_without_both_at_once() -> None:
    groups = [("all", "all"), ("all", "2CH"), ("ED", "all"), ("ED", "2CH")]
    text = results_table([summary(*group, structure="mean") for group in groups])
    assert text.index("ED ") < text.index("2CH")
    assert line_of(text, "ED").split()[:3] == ["ED", "mean", "8"]
    assert text.count("mean ") - text.count("mean over") == 3


def test_the_column_with_empties_as_zero_shows_where_something_is_empty() -> None:
    assert "empty = 0" not in results_table([summary(structure="mean")])
    assert "empty = 0" in results_table([summary(structure="mean", num_empty=1)])


def test_what_is_undefined_is_a_dash_and_unknown_spacing_is_told() -> None:
    nothing = Estimate(NAN, NAN, NAN, 0)
    some = summary(structure="mean")
    some.estimates["hd_mm"] = nothing
    text = results_table([some])
    assert line_of(text, "mean").split() == ["mean", "8", "0", "0", "0.931", "-", "9.00"]
    assert "8 cases are of unknown spacing" in text


def test_nan_is_an_empty_cell_and_null(tmp_path: Path) -> None:
    path = write_csv(tmp_path, [{"patient": "p1", "quality": None, "frame": 3, "dice": NAN}])
    assert path.read_text() == "patient,quality,frame,dice\np1,,3,\n"
    path = write_json(tmp_path, [summary(dice=NAN)], None, BOOTSTRAP)
    (read,) = json.loads(path.read_text(), parse_constant=pytest.fail)["summaries"]
    assert read["estimates"]["dice"]["mean"] is None


def test_only_what_was_measured_is_defined(tmp_path: Path) -> None:
    path = write_json(tmp_path, [summary(dice=0.5)], "a.py", BOOTSTRAP)
    content = json.loads(path.read_text())
    assert "dice" in content["definitions"]
    assert "hd_mm" not in content["definitions"]
    assert content["versions"].keys() >= {"echozoo", "torch", "numpy", "scipy", "mmengine"}


def test_flags_are_counted_by_image_and_joined_in_a_cell(tmp_path: Path) -> None:
    def row(frame: int, *flags: str) -> dict:
        return {"sequence": "p1_4CH", "frame": frame, "flags": list(flags)}

    rows = [row(0, "la:holes", "la:components"), row(0, "lv:holes"), row(1), row(2, "la:holes")]
    note = flags_note(rows)
    assert note.startswith("implausible predictions: 2 of 3 images (la:holes 2, ")
    assert flags_note([row(0)]) == "implausible predictions: 0 of 1 images"
    assert "la:holes la:components" in write_csv(tmp_path, rows).read_text()


def test_an_old_file_stays_whole_until_the_new_one_is(tmp_path: Path, monkeypatch) -> None:
    write_csv(tmp_path, [{"patient": "old"}])

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(ConfigError, match="results.csv: cannot write.*No space left"):
        write_csv(tmp_path, [{"patient": "new"}])
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
    assert "old" in (tmp_path / "results.csv").read_text()


def test_a_file_in_the_folders_place_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="choose another out_dir"):
        write_csv(tmp_path / "out", [{"patient": "p"}])
