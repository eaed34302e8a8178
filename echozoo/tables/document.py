"""A page of text, lists and grids, as Markdown or as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Commands:
    """Command lines."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table: headings, rows of as many cells, and what is said below.

    The first ``labels`` columns are words and aligned left, the others numbers.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    labels: int = 1


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it."""

    title: str
    parts: Sequence[Text | Bullets | Commands | Grid]


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Write a page in GitHub's Markdown.

    Args:
        title: Of the page.
        sections: In their order; one without parts is left out.

    Returns:
        The text, ended by a line break.
    """
    blocks = [f"# {title}"]
    for section in sections:
        if section.parts:
            blocks.append(f"## {section.title}")
            blocks += [_markdown_part(part) for part in section.parts]
    return "\n\n".join(blocks) + "\n"


def latex(title: str, sections: Sequence[Section]) -> str:
    """Write the grids of a page as LaTeX tables, for a paper of one's own.

    Args:
        title: Goes before each caption.
        sections: What is no grid is left out.

    Returns:
        One ``table`` a grid, ended by a line break; they need the package booktabs.
    """
    blocks = ["% needs \\usepackage{booktabs}"]
    for section in sections:
        for part in section.parts:
            if isinstance(part, Grid):
                blocks.append(_latex_grid(part, f"{title}: {section.title}. {part.caption}"))
    return "\n\n".join(blocks) + "\n"


def _markdown_part(part: Text | Bullets | Commands | Grid) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Bullets):
        return "\n".join(f"- {line}" for line in part.lines)
    if isinstance(part, Commands):
        return "\n".join(["```bash", *part.lines, "```"])
    ruler = ["---"] * part.labels + ["--:"] * (len(part.headings) - part.labels)
    rows = [part.headings, ruler, *part.rows]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + (f"\n\n{part.caption}" if part.caption else "")


def _latex_grid(grid: Grid, caption: str) -> str:
    columns = "l" * grid.labels + "r" * (len(grid.headings) - grid.labels)
    rows = [" & ".join(map(_escape, row)) + r" \\" for row in grid.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(caption.strip())}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_escape, grid.headings)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
