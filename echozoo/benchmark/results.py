"""What a part of the benchmark found, before it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table on screen.

    Attributes:
        heading: With its unit.
        cell: From a row's values to the text of its cell.
    """

    heading: str
    cell: Callable[[Row], str]


@dataclass
class Result:
    """The rows of one part.

    Attributes:
        title: What was measured.
        columns: How rows are shown.
        rows: Everything that was measured, in seconds and bytes.
        notes: What has to be known to read the rows, a line each.
        facts: Further values for the JSON file.
        disagreement: In one line, what should have been equal and was not; None where all was.
    """

    title: str
    columns: tuple[Column, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    disagreement: str | None = None


def number(key: str, form: str, factor: float = 1) -> Callable[[Row], str]:
    """A cell with one number; "-" where there is none.

    Args:
        key: Of the row.
        form: A format of Python's, ``".2f"``.
        factor: What the number is multiplied with.
    """

    def cell(row: Row) -> str:
        value = row[key]
        return "-" if value is None else format(factor * value, form)

    return cell


def span(key: str, form: str, factor: float = 1) -> Callable[[Row], str]:
    """A cell with the lower and upper end of a range; "-" where there is none.

    Args:
        key: Of the row; its value is a pair.
        form: A format of Python's.
        factor: What the numbers are multiplied with.
    """

    def cell(row: Row) -> str:
        ends = row[key]
        return "-" if ends is None else " - ".join(format(factor * end, form) for end in ends)

    return cell


def text(key: str) -> Callable[[Row], str]:
    """A cell with a value as it is.

    Args:
        key: Of the row.
    """
    return lambda row: str(row[key])
