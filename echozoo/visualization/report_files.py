"""What a test has left in its work folder, read without running anything of it."""

from __future__ import annotations

import ast
import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echozoo.errors import ConfigError, DataError
from echozoo.run_folder import find_config
from echozoo.visualization.cases import INDEX

TEXT = ("patient", "view", "sequence", "instant", "quality", "structure", "status", "flags")


@dataclass(frozen=True)
class TestRun:
    """The files of one test; what is optional is empty where it is absent."""

    folder: Path
    results: dict[str, Any]
    """results.json: summaries with intervals, definitions, versions."""
    rows: list[dict[str, Any]]
    """results.csv: one row a structure in an image; numbers are floats, an empty cell NaN."""
    cases: list[dict[str, Any]]
    """cases/cases.json: the best and worst images."""
    ef: dict[str, Any]
    """ef.json: agreement of volumes and ejection fraction."""
    ef_rows: list[dict[str, Any]]
    """ef.csv: one row a patient."""
    temporal: dict[str, Any]
    """temporal.json: inconsistent frames and films, limits with provenance."""
    config_name: str
    config_text: str

    @property
    def config(self) -> dict[str, Any]:
        """The config as far as it is plain values."""
        return plain_values(self.config_text)


def read_run(folder: str | Path) -> TestRun:
    """Read the folder of a test.

    Raises:
        DataError: There are no results, or a file of them cannot be read.
    """
    folder = Path(folder)
    if not (folder / "results.json").is_file():
        raise DataError(f"{folder}: no results.json here; run echozoo test with this folder first")
    results = read_json(folder / "results.json", dict)
    if not isinstance(results.get("summaries"), list):
        raise DataError(f"{folder / 'results.json'}: no summaries in it; run echozoo test again")
    try:
        config = find_config(folder)
    except ConfigError:
        config = None
    return TestRun(
        folder=folder,
        results=results,
        rows=read_rows(folder / "results.csv"),
        cases=read_json(folder / "cases" / INDEX, list),
        ef=read_json(folder / "ef.json", dict),
        ef_rows=read_rows(folder / "ef.csv"),
        temporal=read_json(folder / "temporal.json", dict),
        config_name=config.name if config else "",
        config_text=config.read_text(encoding="utf-8", errors="replace") if config else "",
    )


def plain_values(text: str) -> dict[str, Any]:
    """Read the assignments of a dumped config as data: the file is not run.

    Args:
        text: Python source, ``name = value`` with literals and ``dict(...)``.

    Returns:
        Values by name; what is anything else is left out.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return {}
    found = {}
    for line in body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            try:
                found[line.targets[0].id] = _value(line.value)
            except ValueError:
                continue
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id != "dict" or node.args:
            raise ValueError("not a plain value")
        return {word.arg: _value(word.value) for word in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key): _value(value) for key, value in pairs if key is not None}
    return ast.literal_eval(node)


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file that a test has left.

    Returns:
        Its content; an empty one of that kind where it is absent.

    Raises:
        DataError: It cannot be read, or holds another kind.
    """
    if not path.is_file():
        return kind()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run echozoo test again") from error
    if not isinstance(content, kind):
        raise DataError(
            f"{path}: holds a {type(content).__name__}, wanted a {kind.__name__};"
            " run echozoo test again"
        )
    return content


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a CSV file that a test has left.

    Returns:
        Its rows: columns of `TEXT` as they stand, of the others numbers as floats, an empty cell
        NaN. None where the file is absent.

    Raises:
        DataError: It cannot be read.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); run echozoo test again") from error


def _row(cells: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: cell or "" if name in TEXT else _number(cell)
        for name, cell in cells.items()
        if name is not None
    }


def _number(cell: str | None) -> float | str:
    if not cell:
        return math.nan
    try:
        return float(cell)
    except ValueError:
        return cell
