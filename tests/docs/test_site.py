"""The documentation as a site: it builds without a warning, and has what its hooks make."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; --strict makes a broken link, a lost anchor or page an error."""
    out = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return out


def test_it_builds_without_a_warning(site):
    assert (site / "index.html").is_file()


def test_it_loads_nothing_from_elsewhere(site):
    page = (site / "index.html").read_text()
    assert re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', page) == []


def test_the_house_is_a_picture(site):
    page = (site / "how_it_works.html").read_text()
    (picture,) = re.findall(r"<div><svg[^>]*floors of the house.*?</svg></div>", page, re.DOTALL)
    names = re.findall(r'font-weight="bold">([^<]+)</text>', picture)
    assert {"__main__", "models", "films"} <= {*names}


def test_every_part_of_the_registries_is_in_the_reference(site):
    page = (site / "reference/parts.html").read_text()
    for part in (
        "models.temporal.tra.TRA",
        "datasets.camus.CAMUSDataset",
        "engine.hooks.int8.Int8Hook",
    ):
        assert f'id="echozoo.{part}"' in page


def test_every_command_is_in_the_reference(site):
    page = (site / "reference/commands.html").read_text()
    for command, tool in {"train": "train.py", "table": "run_table.py"}.items():
        assert f'id="echozoo-{command}"' in page
        assert f"tools/{tool}" in page


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_is_a_notebook_too(page, site):
    book = json.loads((site / "tutorials" / f"{page.stem}.ipynb").read_text())
    code = [cell["source"] for cell in book["cells"] if cell["cell_type"] == "code"]
    assert book["nbformat"] == 4
    assert any(source.startswith("!echozoo ") for source in code)
    assert f'href="{page.stem}.ipynb"' in (site / "tutorials" / f"{page.stem}.html").read_text()
