"""The code blocks of a page of the documentation, and a tutorial's as a notebook.

A block is a file where a line "`name.py`:" stands before it; `<!-- needs: WHAT -->` in the line
before it says that it cannot run everywhere, and why. All others run, in the order of the page
(tests/docs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = re.compile(
    r"(?:^(?P<lead>[^\n]*)`(?P<file>[\w.-]+)`:\n\n)?"
    r"(?:^<!-- needs: (?P<needs>[^\n]+) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what it is, and what it says."""

    line: int
    language: str
    code: str
    file: str | None = None
    needs: str | None = None


def find_blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    return [
        Block(
            page.count("\n", 0, match.start("code")),
            match["language"],
            match["code"],
            match["file"],
            match["needs"],
        )
        for match in BLOCK.finditer(page)
    ]


def commands(code: str) -> list[str]:
    """The commands of a bash block: comments taken off, lines that end in a backslash joined."""
    lines = re.sub(r"\\\n\s*", "", code).splitlines()
    return [line for line in (re.sub(r"(^|\s+)#.*", "", line).strip() for line in lines) if line]


def as_cell(block: Block) -> str:
    """A block as Jupyter runs it."""
    if block.file:
        return f"%%writefile {block.file}\n{block.code}".rstrip()
    if block.language == "bash":
        return "\n".join(f"!{command}" for command in commands(block.code))
    return block.code.rstrip()


def notebook(page: str) -> dict:
    """A page as a notebook (nbformat 4): its text, and the blocks that run as cells."""
    cells, end = [], 0

    def add_text(text: str) -> None:
        if text.strip():
            cells.append(dict(cell_type="markdown", metadata={}, source=text.strip()))

    for match in BLOCK.finditer(page):
        (block,) = find_blocks(match[0])
        if block.needs or block.language not in ("bash", "python"):
            continue
        add_text(page[end : match.start()] + (match["lead"] or ""))
        end = match.end()
        code = dict(metadata={}, execution_count=None, outputs=[], source=as_cell(block))
        cells.append(dict(cell_type="code", **code))
    add_text(page[end:])
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = dict(name="python3", display_name="Python 3", language="python")
    return dict(nbformat=4, nbformat_minor=5, metadata=dict(kernelspec=kernel), cells=cells)
