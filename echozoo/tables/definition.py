"""Reading the definition of a table: its rows, what is measured, what was published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config

from echozoo import zoo
from echozoo.engine.config_options import closest
from echozoo.errors import ConfigError
from echozoo.registry import POSTPROCESSING
from echozoo.tables.quantities import QUANTITIES


@dataclass(frozen=True)
class Row:
    """One line of a table: a config, and what was published of it.

    Attributes:
        name: Heading of the row.
        config: Config file, relative to the table's folder, the one above it, or the zoo's.
        published: Published numbers, as printed there, by the table's keys.
        options: Keys of the config that differ for this row, dotted.
        starts_from: Row, or config, whose trained weights this one starts from.
        trains: False for a model that is only tested, with its published weights.
        averages: Rows whose models' probabilities are averaged, seed by seed, in place of a
            config; of the first are the data and the post-processing. One row alone is tested
            once more, with ``postprocess``.
        postprocess: Steps for the predictions, in place of those of the averaged rows' configs.
        baseline: Row to compare this one with; None is the table's.
    """

    name: str
    config: Path
    published: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    starts_from: str | None = None
    trains: bool = True
    averages: tuple[str, ...] = ()
    postprocess: tuple[str, ...] = ()
    baseline: str | None = None


@dataclass(frozen=True)
class TableDefinition:
    """A table as its file states it.

    Attributes:
        name: Of the file, without its ending.
        path: The file.
        title: Heading of the table.
        source: Where the published numbers stand.
        protocol: How they were obtained, as far as the source says.
        rows: In the table's order.
        measured: Keys of `QUANTITIES`, a column each.
        published: Headings of the published columns, by key.
        dataset: Settings of the train, val and test data of every row.
        compared: Keys of `QUANTITIES` that are tested against the baseline.
        baseline: Row that the others are compared with; None compares only rows that name one.
        notes: What a reader has to know, a sentence or more each.
    """

    name: str
    path: Path
    title: str
    source: str
    protocol: str
    rows: tuple[Row, ...]
    measured: tuple[str, ...]
    published: dict[str, str] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    compared: tuple[str, ...] = ()
    baseline: str | None = None
    notes: tuple[str, ...] = ()

    def baseline_of(self, row: Row) -> Row | None:
        """Return the row that a row is compared with; None for the baseline itself."""
        wanted = row.baseline or self.baseline
        return next((one for one in self.rows if one.name == wanted != row.name), None)


def read_definition(path: str | Path) -> TableDefinition:
    """Read a file of ``configs/tables/``.

    Args:
        path: A Python file of plain assignments; names that begin with _ are its own.

    Returns:
        The table; every config that it names is there.

    Raises:
        ConfigError: The file is absent or no valid Python, a key is missing or unknown, or a name
            in it (config, quantity, row) means nothing.
    """
    path = Path(path).resolve()
    if path.is_relative_to(Path.cwd()):  # for people and files: the same on every machine
        path = path.relative_to(Path.cwd())
    if not path.is_file():
        there = ", ".join(p.name for p in sorted(path.parent.glob("*.py")))
        raise ConfigError(f"{path}: no such table{there and f'; there are {there}'}")
    try:
        values = Config.fromfile(str(path)).to_dict()
    except Exception as error:  # a definition is Python: anything may happen in it
        text = " ".join(str(error).split())
        raise ConfigError(f"{path}: {type(error).__name__}: {text}") from error
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    _check_keys(values, TableDefinition, {"name", "path"}, str(path))
    values["rows"] = tuple(_row(row, path, values["rows"]) for row in values["rows"])
    for key in ("measured", "compared", "notes"):
        values[key] = tuple(values.get(key, ()))
    table = TableDefinition(name=path.stem, path=path, **values)
    _check_names(table)
    return table


def _row(values: dict[str, Any], path: Path, rows: Sequence[dict[str, Any]]) -> Row:
    name = values.get("name", "without a name") if isinstance(values, dict) else values
    where = f"{path}: row {name!r}"
    if isinstance(values, dict) and values.get("averages"):
        values = _averaged(values, where, rows)
    elif isinstance(values, dict) and values.get("postprocess"):
        raise ConfigError(f"{where}: postprocess: wanted beside averages, which names the row")
    _check_keys(values, Row, set(), where)
    folders = (path.parent, path.parent.parent, zoo.CONFIGS)
    places = [folder / values["config"] for folder in folders]
    config = next((place for place in places if place.is_file()), None)
    if config is None:
        names = {file.name for place in places for file in place.parent.glob("*.py")}
        raise ConfigError(
            f"{where}: no config {values['config']!r}{closest(values['config'], names)} "
            f"(looked in {', '.join(str(place.parent) for place in places)})"
        )
    return Row(**{**values, "config": config})


def _averaged(values: dict[str, Any], where: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Give a row of averages what the first of its members has."""
    members = {one["name"]: one for one in rows if not one.get("averages")}
    _check_known(where, "row to average", values["averages"], members)
    first = members[values["averages"][0]]
    steps = tuple(values.get("postprocess", ()))
    POSTPROCESSING.import_from_location()
    _check_known(where, "step", steps, POSTPROCESSING.module_dict)
    if len(values["averages"]) < 2 and not steps:
        raise ConfigError(f"{where}: averages: wanted two rows or more, or one and postprocess")
    if not all(members[name].get("trains", True) for name in values["averages"]):
        raise ConfigError(f"{where}: averages: wanted rows of models that train")
    own = {"config": first["config"], "options": first.get("options", {}), "trains": False}
    return {**values, **own, "averages": tuple(values["averages"]), "postprocess": steps}


def _check_keys(values: Any, kind: type, given: set[str], where: str) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: found a {type(values).__name__}, wanted a dict(...)")
    known = {f.name: f for f in fields(kind) if f.name not in given}
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {key!r}{closest(key, known)}; known are {', '.join(known)}"
            )
    required = [
        name
        for name, f in known.items()
        if f.default is MISSING and f.default_factory is MISSING and not values.get(name)
    ]
    if required:
        raise ConfigError(f"{where}: no {', '.join(required)} in it")


def _check_names(table: TableDefinition) -> None:
    rows = [row.name for row in table.rows]
    twice = sorted({name for name in rows if rows.count(name) > 1})
    if twice:
        raise ConfigError(f"{table.path}: {len(twice)} names of two rows each: {', '.join(twice)}")
    where = str(table.path)
    _check_known(where, "quantity", (*table.measured, *table.compared), QUANTITIES)
    _check_known(where, "row as baseline", filter(None, (table.baseline,)), rows)
    for row in table.rows:
        inside = f"{where}: row {row.name!r}"
        _check_known(inside, "published column", row.published, table.published)
        _check_known(inside, "row as baseline", filter(None, (row.baseline,)), rows)


def _check_known(where: str, kind: str, names: Iterable[str], known: Mapping | list) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{where}: no {kind} is named {name!r}{closest(name, known)}; there are "
                f"{', '.join(known)}"
            )
