from __future__ import annotations

import csv
from pathlib import Path

import pytest
from made_up_runs import films, results, write_run

from echozoo.evaluation.report import write_content
from echozoo.tables.collect import collect
from echozoo.tables.compare import compare
from echozoo.tables.definition import read_definition
from echozoo.tables.document import Grid, Section, latex, markdown
from echozoo.tables.planning import plan_table
from echozoo.tables.runs import Settings
from echozoo.tables.write import write_table

COMMAND = "python tools/run_table.py configs/tables/toy.py --data-root PATH"
FIRST = {("a", 0, "lv"): 0.9, ("b", 0, "lv"): 0.7, ("a", 0, "la"): 0.6, ("b", 0, "la"): 0.8}
SECOND = {key: value - 0.1 for key, value in FIRST.items()}
LIMITS = {"name": "toy", "provenance": "made up"}


@pytest.fixture
def written(write_definition, tmp_path: Path) -> dict[str, Path]:
    rows = [
        {"name": "plain", "config": "unet.py", "published": {"dice": 91.5}},
        {"name": "timely", "config": "samus_tra.py"},
        {"name": "zero-shot", "config": "sam.py", "trains": False},
    ]
    definition = read_definition(write_definition(rows=rows, title="A & B | C"))
    table = plan_table(definition, Settings(tmp_path / "runs", "phantom", "tiny", (0, 1)))
    plain, timely, _ = table.rows
    for run, cases, bad in zip(plain.runs, (FIRST, SECOND), (1, 2), strict=True):
        write_run(run, results(cases), films({"a": (bad, 10), "b": (0, 10)}))
        reference = {"frames": 20, "sequences": 2}
        reference |= {"inconsistent_frames": 0, "inconsistent_sequences": 0}
        content = {"limits": LIMITS, "reference": reference}
        write_content(run.folder / "temporal.json", content)
    write_run(timely.runs[1], results(FIRST), fingerprint="older", jobs=2, commit="abc1234")
    found = collect(table)
    comparisons = compare(definition, found)
    files = write_table(definition, found, comparisons, tmp_path / "out", COMMAND, tex=True)
    return {path.suffix: path for path in files}


def cells(text: str, heading: str, row: str) -> list[str]:
    """The cells of a row under a heading of a Markdown page."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")][1:]


def test_measured_stands_beside_published(written) -> None:
    text = written[".md"].read_text()
    assert text.startswith("# toy.txt, table 1: A & B | C\n")
    assert "## Published protocol\n\nAs it was.\n" in text
    assert f"```bash\n{COMMAND}\n```" in text
    headings = "|  | seeds | Dice, % | TCI, frames | empty | published: Dice, % |"
    assert headings in text
    # Means 75 and 65 of two seeds; 1 and 2 of 20 frames.
    seeds, dice, tci, empty, published = cells(text, "Results", "plain")
    assert (seeds, published) == ("2", "91.5")
    assert dice.startswith("70.00 (")
    assert dice.endswith(" ± 7.07")
    assert tci.startswith("1.5 of 20, 7.5 % (0.0-15.0) ± 3.5")
    assert empty.startswith("0 of 4, 0.0 % (0.0-0.0)")
    assert cells(text, "Results", "timely")[:1] == ["1"]
    assert cells(text, "Results", "timely")[2:3] == ["-"], "no temporal.csv: nothing is guessed"
    assert cells(text, "Results", "zero-shot") == ["-"] * 5
    assert cells(text, "By structure", "plain")[1].startswith("75.00 (")


def test_conditions_runs_and_notes_are_said(written) -> None:
    text = written[".md"].read_text()
    for line in (
        "- data: phantom, split=files: 2 test patients, 2 images",
        "- scale: tiny; seeds: 0 / 1",
        "An abacus, 2 cores, 1 thread / An abacus, 2 cores, 1 thread, 2 runs at a time",
        "not a git checkout / abc1234",
        "- temporal limits: toy: made up; by them the reference masks have 0 of 20 frames "
        "inconsistent, in 0 of 2 sequences",
        "# timely\npython tools/train.py toy.py\npython tools/test.py toy.py RUN",
        "- A note.",
        "- timely: not run with seed 0.",
        "- timely: its config has changed since seed 1 was trained.",
    ):
        assert line in text, line
    assert "zero-shot: not run: " in text
    assert "has no scale 'tiny'." in text
    row = cells(text, "Runs", "plain")
    assert row[2:] == ["1,234,567", "1,000", "50 epochs", "0 1", "1.50"]
    assert cells(text, "Runs", "zero-shot")[1:] == ["-"] * 6


def test_differences(written) -> None:
    text = written[".md"].read_text()
    against, quantity, patients, difference, p, p_holm = cells(text, "Differences", "timely")
    assert (against, quantity, patients) == ("plain", "Dice, %", "2")
    assert difference == "+5.00 (+5.00 to +5.00)"
    assert (p, p_holm) == ("0.500", "0.500")


def test_csv_has_each_number_in_a_column(written) -> None:
    with written[".csv"].open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    plain, timely, zero = rows["plain"], rows["timely"], rows["zero-shot"]
    assert float(plain["dice"]) == pytest.approx(0.7)
    assert float(plain["dice_low"]) <= 0.7 <= float(plain["dice_high"])
    assert float(plain["dice_seed_sd"]) == pytest.approx(0.1 / 2**0.5, rel=1e-4)
    assert (plain["published_dice"], timely["published_dice"]) == ("91.5", "")
    assert (plain["tci_amount"], plain["tci_total"]) == ("1.5", "20")
    assert (plain["seeds"], plain["train_hours_total"]) == ("0 1", "3")
    assert float(timely["dice_difference"]) == pytest.approx(0.05)
    assert plain["dice_difference"] == ""
    assert {value for key, value in zero.items() if key not in ("row", "config")} == {""}


def test_latex_escapes_and_is_of_one_width(written) -> None:
    text = written[".tex"].read_text()
    assert r"toy.txt, table 1: A \& B $|$ C: Results." in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert "Runs" not in text
    for block in text.split(r"\begin{tabular}{")[1:]:
        columns = len(block.split("}")[0])
        body = block.split(r"\toprule")[1].split(r"\bottomrule")[0]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert all(line.replace(r"\&", "").count("&") == columns - 1 for line in lines)
    assert r"7.5 \% (0.0-15.0) $\pm$ 3.5" in text


def test_a_bar_in_a_cell_does_not_break_a_grid() -> None:
    sections = [Section("S", [Grid(["a", "b"], [["x | y", "1"]])]), Section("none", [])]
    assert markdown("T", sections) == "# T\n\n## S\n\n| a | b |\n| --- | --: |\n| x \\| y | 1 |\n"
    assert "x $|$ y & 1 \\\\" in latex("T", sections)


def test_nothing_run_yet(write_definition, tmp_path: Path) -> None:
    definition = read_definition(write_definition())
    table = plan_table(definition, Settings(tmp_path / "runs", "phantom", "tiny"))
    found = collect(table)
    files = write_table(definition, found, compare(definition, found), tmp_path, COMMAND)
    text = files[0].read_text()
    assert "- nothing was run yet" in text
    assert cells(text, "Results", "plain") == ["-", "-", "-", "-", "91.5"]
    assert "## Differences" not in text
    assert [path.name for path in files] == ["toy.md", "toy.csv"]
