from __future__ import annotations

import json

from echozoo.benchmark.report import machine, print_results, shown_command, write_results
from echozoo.benchmark.results import Column, Result, number, span, text

COLUMNS = (
    Column("side", text("side")),
    Column("median\nms", number("median_s", ".1f", 1e3)),
    Column("range", span("range", ".2f")),
)
ROWS = [
    {"side": "theirs", "median_s": 0.25, "range": None},
    {"side": "ours", "median_s": 0.1, "range": (2.0, 3.0)},
]


def test_a_command_without_folders():
    words = ["python", "tools/benchmark.py", "forward", "--against", "/home/me/SAMUS"]
    words += ["--dataset", "cache_dir=/data/x y", "--config", "configs/samus.py", "-o", "~/out"]
    shown = "python tools/benchmark.py forward --against SAMUS --dataset 'cache_dir=x y'"
    assert shown_command(words) == f"{shown} --config configs/samus.py -o out"


def test_table_markdown_and_json(tmp_path, capsys):
    result = Result("forward", COLUMNS, ROWS, ["made by turns"], {"x": 1}, "they differ")
    print_results([result])
    screen = capsys.readouterr().out
    assert "made by turns" in screen
    assert ["ours", "100.0", "2.00", "-", "3.00"] in [line.split() for line in screen.splitlines()]
    settings = {"config": "samus", "scale": None, "machine": machine("cpu")}
    command = ["python", "tools/benchmark.py", "-o", str(tmp_path / "out")]
    files = write_results(tmp_path / "out", [result], settings, command)
    assert [file.name for file in files] == ["benchmark.json", "benchmark.md"]
    content = json.loads(files[0].read_text())
    assert content["command"] == "python tools/benchmark.py -o out"
    assert content["machine"]["threads"] >= 1
    assert content["machine"]["cpu"]
    assert content["versions"]["torch"]
    (part,) = content["parts"]
    assert part["rows"][1] == {"side": "ours", "median_s": 0.1, "range": [2.0, 3.0]}
    assert part["disagreement"] == "they differ"
    page = files[1].read_text()
    assert "| side | median ms | range |\n| --- | --: | --: |\n| theirs | 250.0 | - |\n" in page
    assert "- **not equal**: they differ" in page
    assert str(tmp_path) not in page + files[0].read_text()
