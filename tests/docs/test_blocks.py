"""The code blocks of README and docs run, or say what they need; options that they name exist."""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import commands, find_blocks, notebook
from mmengine.registry import Registry

from echozoo import cli, registry

ROOT = Path(__file__).resolve().parents[2]
# What run_table.py wrote, as it was then.
RECORDS = {"camus_mini", "phantom_flicker"}
PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.parent.name not in RECORDS
}
# Its blocks are files, which tests/test_extending.py tries.
PARTS = "docs/extending.md"
CODE = {"bash", "python"}


def is_tool(word: str) -> bool:
    return word == "echozoo" or word.startswith("tools/")


def tool_calls(page: str) -> Iterator[tuple[str, ...]]:
    """Each start of the zoo's command or of a tool in a page's bash, with what it is given."""
    for block in find_blocks(page):
        for line in commands(block.code) if block.language == "bash" else ():
            for part in re.split(r"\s(?:&&|\|)\s", line):
                words = shlex.split(part)
                start = next((i for i, word in enumerate(words) if is_tool(word)), None)
                if start is not None:
                    yield tuple(words[start:])


CALLS = sorted({call for page in PAGES.values() for call in tool_calls(page)})
TUTORIALS = [
    name
    for name, page in PAGES.items()
    if name != PARTS and any(b.needs is None and b.language in CODE for b in find_blocks(page))
]


class Parsed(BaseException):
    """The options were read; the rest of the tool is not run."""


@pytest.fixture
def run_tool(monkeypatch):
    """Runs `echozoo` or a file of tools/ in this process, which has imported everything already."""

    monkeypatch.syspath_prepend(ROOT / "tools")  # as Python does for a file that it runs

    def run(file: str, *options: str) -> None:
        monkeypatch.setattr(sys, "argv", [file, *options])
        code = None
        try:
            if file == "echozoo":
                cli.main()
            else:
                runpy.run_path(str(ROOT / file), run_name="__main__")
        except SystemExit as end:
            code = end.code
        assert not code, f"{file} {' '.join(options)}: {code}"

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder with what a checkout has; parts that a page adds are forgotten."""
    for name in ("tools", "configs", "tests", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), {*sys.modules}
    yield tmp_path
    new = {name for name in {*sys.modules} - modules if (tmp_path / f"{name}.py").exists()}
    for kind in vars(registry).values():
        if isinstance(kind, Registry):
            for name in [n for n, part in kind.module_dict.items() if part.__module__ in new]:
                del kind.module_dict[name]
    for name in new:
        del sys.modules[name]
    sys.path[:] = path


def run_command(line: str, run_tool) -> None:
    program, *words = shlex.split(line)
    if program == "echozoo":
        run_tool(program, *words)
        return
    program = {"python": sys.executable}.get(program, program)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([program, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_page_runs_as_a_notebook(name, folder, run_tool):
    """In its order, in an empty folder."""
    known = {"__name__": "notebook"}
    for cell in notebook(PAGES[name])["cells"]:
        source = cell["source"]
        if cell["cell_type"] == "markdown":
            continue
        if source.startswith("%%writefile "):
            first, _, text = source.partition("\n")
            (folder / first.split()[1]).write_text(text + "\n")
        elif source.startswith("!"):
            for line in source.splitlines():
                run_command(line[1:], run_tool)
        else:
            exec(compile(source, name, "exec"), known)


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_the_options_of_a_tool_are_there(call, run_tool, monkeypatch):
    file, *options = call
    if file.endswith(".sh"):
        assert (ROOT / file).is_file()
        tool = re.fullmatch(r"tools/(?:dist|slurm)_(\w+)\.sh", file)
        if not tool or "--help" in options:
            return
        # How many processes, before or after the config, is the script's own.
        file = f"tools/{tool[1]}.py"
        options = [word for word in options if not word.isdigit()]
    read = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *args) -> None:
        read(self, *args)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    with pytest.raises(Parsed):
        run_tool(file, *options)


@pytest.mark.parametrize("name", PAGES)
def test_blocks_of_python_are_python(name):
    for block in find_blocks(PAGES[name]):
        if block.language == "python" and "{{" not in block.code:
            compile(block.code, f"{name}:{block.line}", "exec")


def test_what_extending_shows_is_files_or_marked():
    """Files are tried by tests/test_extending.py, which looks for them by the same lines."""
    assert [b.line for b in find_blocks(PAGES[PARTS]) if not (b.file or b.needs)] == []


def test_a_page_that_shows_code_says_its_language():
    bare = [
        f"{name}:{block.line}"
        for name, page in PAGES.items()
        for block in find_blocks(page)
        if not block.language
    ]
    assert bare == []


def test_marks_are_read():
    page = (
        "`a.py`:\n\n```python\nx = 1\n```\n\n<!-- needs: data -->\n```bash\na \\\n  --b # c\n```\n"
    )
    file, marked = find_blocks(page)
    assert (file.file, file.needs, marked.file, marked.needs) == ("a.py", None, None, "data")
    assert commands(marked.code) == ["a --b"]
    assert [cell["source"] for cell in notebook(page)["cells"]][0] == "%%writefile a.py\nx = 1"
