from __future__ import annotations

import re
import sys

import pytest
from rich.console import Console
from torch import nn

from echozoo.cli import parts


@pytest.fixture
def show(monkeypatch, capsys):
    """Run the tool on a wide screen and return what it prints, a row a line."""

    def show(*args: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["parts", *args])
        monkeypatch.setattr(parts, "Console", lambda width: Console(width=200))
        with pytest.raises(SystemExit) as end:
            parts.main()
        assert end.value.code == 0
        return capsys.readouterr().out.splitlines()

    return show


def test_every_part_is_listed_with_its_kind_and_a_line(show):
    rows = show()
    for kind, node in parts.kinds().items():
        for name, part in parts.own_parts(node):
            row = next(row for row in rows if re.search(rf"│ {name} +│", row))
            cells = [cell.strip() for cell in row.strip("│").split("│")]
            assert cells[0] == kind
            assert len(cells[2]) > 10, f"{name} has no docstring"
            assert part.__module__.startswith("echozoo.")


@pytest.mark.parametrize(
    "name", ["SAMViT", "SAMUS", "TRA", "ManualPromptHead", "SAMMaskDecoder", "CAMUSDataset"]
)
def test_parts_of_the_zoo_are_there(show, name):
    assert any(re.search(rf"│ {name} +│", row) for row in show())


def test_networks_have_a_size(show):
    samus = next(row for row in show("--kind", "model") if "│ SAMUS " in row)
    assert int(re.findall(r"[\d,]{7,}", samus)[-1].replace(",", "")) > 100_000_000


def test_one_kind_only(show):
    rows = [row for row in show("--kind", "temporal module") if row.startswith("│")]
    assert rows
    assert all(row.startswith("│ temporal module") for row in rows)


def test_upstream_on_demand(show):
    assert not any("FCNHead" in row for row in show("--kind", "model"))
    assert any("FCNHead" in row and "(mmseg)" in row for row in show("--kind", "model", "--all"))


def test_unknown_kind_names_the_closest(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["parts", "--kind", "modle"])
    with pytest.raises(SystemExit, match=r"no such kind; did you mean model\?"):
        parts.main()


class Sized(nn.Linear):
    def __init__(self, embed_dims: int):
        super().__init__(embed_dims, 1)


class NeedsMore(nn.Linear):
    def __init__(self, what: int):
        super().__init__(what, 1)


@pytest.mark.parametrize(
    ("part", "shown"),
    [(Sized, "769 (embed_dims=768)"), (NeedsMore, ""), (nn.Identity, ""), (dict, "")],
)
def test_size_of_a_part(part, shown):
    assert parts.parameters(part) == shown
