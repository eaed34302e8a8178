"""What README and docs name is there: files, configs, links; the zoo's table has every config."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATHS = re.compile(r"(?:tools|configs|tests)/[\w/.]+")


def test_what_they_name_is_there():
    named = {path for page in PAGES for path in PATHS.findall(page.read_text())}
    assert [path for path in sorted(named) if not (ROOT / path.rstrip(".")).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_config_has_its_row():
    rows = re.findall(r"^\| `(\w+\.py)`", (ROOT / "docs/zoo.md").read_text(), flags=re.MULTILINE)
    assert sorted(path.name for path in (ROOT / "configs").glob("*.py")) == sorted(rows)
