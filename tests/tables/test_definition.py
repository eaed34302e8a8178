from __future__ import annotations

import re
from pathlib import Path

import pytest

from echozoo.errors import ConfigError
from echozoo.tables.definition import read_definition

DEFINITIONS = sorted(Path("configs/tables").glob("*.py"))
# How many rows of numbers each table of the documents has.
PUBLISHED_ROWS = {
    "time": 0,
    "tra_1": 5,
    "tra_2": 3,
    "tra_3": 4,
    "autosamus_1": 2,
    "autosamus_apg": 0,
}
NOT_OF_DOCUMENTS = {"related": 4, "full_size": 0, "time": 0}  # the first: of another paper
PUBLISHED_ROWS |= NOT_OF_DOCUMENTS
# What stands before the numbers of a row, where it is not the row's name.
MARKS = {
    ("tra_1", "SAM, decoder fine-tuned"): r"SAM",
    ("tra_1", "SAMUS + TRA + LIA (Ours)"): r"Ours",
    ("tra_2", "TRA (L-MHRA)"): r"L-MHRA",
    ("tra_3", "SAMUS"): r"X\tX",
    ("tra_3", "SAMUS + LIA"): r"X\t✓",
    ("tra_3", "SAMUS + TRA"): r"✓\tX",
    ("tra_3", "SAMUS + TRA + LIA"): r"✓\t✓",
    ("autosamus_1", "SAMUS"): r"×",
    ("autosamus_1", "SAMUS + MSFF"): r"\$\\checkmark\$",
}


def test_every_table_of_the_documents_is_there() -> None:
    assert {path.stem for path in DEFINITIONS} == set(PUBLISHED_ROWS)


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_definitions_load_and_their_configs_exist(path: Path) -> None:
    table = read_definition(path)
    assert all(row.config.is_file() for row in table.rows)
    assert all(table.baseline_of(row) for row in table.rows if row.name != table.baseline) or (
        table.name == "autosamus_apg"
    )
    assert sum(bool(row.published) for row in table.rows) == PUBLISHED_ROWS[path.stem]
    head = path.read_text().split('"""')[1]
    assert f"tools/run_table.py {path} " in head


OF_DOCUMENTS = [path for path in DEFINITIONS if path.stem not in NOT_OF_DOCUMENTS]


@pytest.mark.parametrize("path", OF_DOCUMENTS, ids=lambda path: path.stem)
def test_published_numbers_are_the_documents(path: Path, shared: Path) -> None:
    table = read_definition(path)
    text = (shared / "documents" / f"{path.stem.split('_')[0]}.txt").read_text(encoding="utf-8")
    for row in table.rows:
        if row.published:
            assert list(row.published) == list(table.published), "all of the row, in its order"
            mark = MARKS.get((table.name, row.name), re.escape(row.name))
            numbers = r"[^\n\t]*\t".join(re.escape(str(n)) for n in row.published.values())
            assert re.search(rf"^{mark}\t{numbers}(?![\d.])", text, re.MULTILINE), row.name


def test_autosamus_rows_stand_beside_what_they_start_from() -> None:
    table = read_definition("configs/tables/autosamus_apg.py")
    auto = [row for row in table.rows if row.name.startswith("Auto")]
    assert [row.config.stem for row in auto] == ["autosamus", "autosamus_msff", "autosamus_tra"]
    for row in auto:
        manual = table.baseline_of(row)
        assert manual.name == row.starts_from
        assert manual.config.stem == row.config.stem.replace("autosamus", "samus")


def test_a_row_without_a_temporal_module_is_measured_in_table_2() -> None:
    table = read_definition("configs/tables/tra_2.py")
    (row,) = [row for row in table.rows if row.config.stem == "samus"]
    assert row.name == table.baseline
    assert not row.published


PLAIN = {"name": "plain", "config": "unet.py"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "x"}, "unknown key 'titel'; did you mean title"),
        ({"title": ""}, "no title in it"),
        ({"rows": []}, "no rows in it"),
        ({"rows": [{"name": "a"}]}, "row 'a': no config in it"),
        ({"rows": [PLAIN | {"colour": 1}]}, "row 'plain': unknown key 'colour'; known are name"),
        ({"rows": ["plain"]}, "row 'plain': found a str, wanted a dict"),
        (
            {"rows": [{"name": "plain", "config": "unett.py"}]},
            "row 'plain': no config 'unett.py'; did you mean unet.py",
        ),
        ({"rows": [PLAIN, PLAIN]}, "names of two rows each: plain"),
        ({"rows": [PLAIN | {"published": {"die": 1}}]}, "no published column is named 'die'"),
        ({"rows": [PLAIN | {"baseline": "plian"}]}, "no row as baseline is named 'plian'; did"),
        ({"measured": ["dices"]}, "no quantity is named 'dices'; did you mean dice"),
        ({"compared": ["hd"]}, "no quantity is named 'hd'"),
        ({"baseline": "best"}, "no row as baseline is named 'best'; there are plain, timely"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(write_definition, changes, message) -> None:
    path = write_definition(**changes)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read_definition(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_and_broken_files(write_definition, tmp_path) -> None:
    path = write_definition()
    with pytest.raises(ConfigError, match=r"tables/other.py: no such table; there are toy.py"):
        read_definition(path.with_name("other.py"))
    path.write_text("title = ")
    with pytest.raises(ConfigError, match=r"toy.py: SyntaxError: "):
        read_definition(path)
