"""Tables as plain text, for a log as for a screen."""

from __future__ import annotations

import io

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_WIDEST = 200  # a table takes the room that it needs


def text_table(title: str | None, *columns: str, labels: int = 1) -> Table:
    """An empty table; its first ``labels`` columns are words, the others numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(columns):
        justify = "left" if place < labels else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    return table


def as_text(*tables: Table) -> str:
    """Tables one below the other, without blanks at the ends of lines."""
    console = Console(file=io.StringIO(), width=_WIDEST, color_system=None)
    for table in tables:
        console.print(table)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
