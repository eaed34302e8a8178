"""Run what is left of tables, and write them: measured beside published.

    echozoo table configs/tables/tra_2.py --scale tiny --data-root PATH --seeds 0 1 2
    echozoo table all --data-root PATH --latex -o docs/results
    echozoo table tra_2 --data-root PATH --folds 1-10
    echozoo table all --data-root PATH --print-commands

Every row is trained and tested with each seed, one after the other; a run that several tables have
is made once. The same command again goes on where it was interrupted, tests again where
results.json was deleted, and only writes the tables when nothing is left. Exit status 1 where a
run has failed. --print-commands runs nothing: it prints a command for each run with something
left, for a scheduler or several terminals; then --only-collect writes the tables.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from echozoo import zoo
from echozoo.engine.config_options import closest
from echozoo.errors import ConfigError, one_line_errors
from echozoo.options import add_amp, add_pairs, command_parser
from echozoo.tables.collect import collect
from echozoo.tables.compare import compare
from echozoo.tables.definition import TableDefinition, read_definition
from echozoo.tables.execute import Workshop, execute, steps_left
from echozoo.tables.planning import plan_table, runs_of
from echozoo.tables.runs import PlannedRow, PlannedTable, Run, Settings, key_values
from echozoo.tables.write import write_table


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("tables", nargs="+", help="names or files of configs/tables/, or all")
    parser.add_argument("--scale", metavar="NAME", help="a size that the configs declare")
    parser.add_argument("--data-root", help="the data set's folder (or environment CAMUS_ROOT)")
    parser.add_argument("--data-name", help="the data set's name (default: its folder's)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="a run each (default: 0)")
    parser.add_argument(
        "--folds",
        nargs="+",
        type=folds,
        default=[],
        metavar="FOLD",
        help="cross-validation: 1-10 are all folds of the data set's authors. A run each, and "
        "their test patients are put together, so that each counts once",
    )
    add_pairs(parser, "--dataset", "keys of the train, val and test data of every row")
    add_pairs(parser, "--cfg-options", "keys of the config of every row")
    add_amp(parser)
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="run only these (row or config)")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs of each run (default: 1)")
    parser.add_argument(
        "--print-commands", action="store_true", help="run nothing, print a command for each run"
    )
    parser.add_argument("--only-collect", action="store_true", help="run nothing, write tables")
    parser.add_argument("--latex", action="store_true", help="write .tex files too")
    parser.add_argument(
        "--work-dirs", type=Path, default=Path("work_dirs/tables"), help="folder of all runs"
    )
    parser.add_argument("-o", "--out", type=Path, help="folder of the tables (default: the runs')")
    return parser.parse_args()


def folds(text: str) -> range:
    """Read a fold, or several as ``1-10``."""
    first, dash, last = text.partition("-")
    return range(int(first), int(last if dash else first) + 1)


def find_tables(names: Sequence[str]) -> list[TableDefinition]:
    """Read the definitions that the command line names."""
    if "all" in names:
        return [read_definition(path) for path in sorted(zoo.TABLES.glob("*.py"))]
    return [read_definition(zoo.find_config(name, zoo.TABLES) or name) for name in names]


def settings_of(args: argparse.Namespace) -> Settings:
    """Bring together what all runs have in common."""
    if args.gpus < 1 or min(args.seeds) < 0:
        raise ConfigError("--gpus: wanted 1 or more; --seeds: wanted 0 or more")
    chosen = [fold for several in args.folds for fold in several]
    if chosen and not set(chosen) <= set(range(1, 11)):
        raise ConfigError(f"--folds {' '.join(map(str, chosen))}: wanted 1 to 10, such as 1-10")
    if chosen and "split" in args.dataset:
        raise ConfigError(f"--dataset split={args.dataset['split']} and --folds: choose one")
    name = args.data_name or (args.data_root and Path(args.data_root).resolve().name)
    if not name or not (args.data_root or args.only_collect):
        raise ConfigError(
            "no data: give --data-root FOLDER or set CAMUS_ROOT (with --only-collect, --data-name "
            "is enough)"
        )
    return Settings(
        root=args.work_dirs,
        data_name=name,
        scale=args.scale,
        seeds=tuple(dict.fromkeys(args.seeds)),
        folds=tuple(dict.fromkeys(chosen)),
        dataset=args.dataset,
        cfg_options=args.cfg_options,
        amp=args.amp,
    )


def chosen_rows(tables: Sequence[PlannedTable], names: Sequence[str] | None) -> list[PlannedRow]:
    """Return the rows to run: all, or those with one of the names, or of one of the configs."""
    rows = [row for table in tables for row in table.rows]
    known = {name for one in rows for name in (one.row.name, one.row.config.stem)}
    for name in names or ():
        if name not in known:
            there = ", ".join(one.row.name for one in rows)
            raise ConfigError(f"--rows {name!r}: no such row{closest(name, known)} ({there})")
    return [one for one in rows if not names or {one.row.name, one.row.config.stem} & set(names)]


def run(rows: Sequence[PlannedRow], workshop: Workshop) -> dict[Run, str]:
    """Run what is left, a line a step as it begins and ends."""
    for one in rows:
        if one.obstacle:
            print(f"{one.row.name}: not run: {one.obstacle}")
    return execute(runs_of(rows), workshop, show=lambda line: print(line, flush=True))


def print_commands(
    tables: Sequence[PlannedTable], rows: Sequence[PlannedRow], args: argparse.Namespace
) -> None:
    """Print a command of this tool for each run with something left; parents come first."""
    owners: dict[Run, tuple[TableDefinition, str]] = {}
    for table in tables:
        for one in (row for row in table.rows if row in rows):
            for run in one.runs:
                owners.setdefault(run, (table.definition, one.row.name))
    for run in runs_of(rows):
        if run in owners and steps_left(run):
            table, row = owners[run]
            before = [one.name for one in run.needs if one in owners]
            after = f", after {' and '.join(before)}" if before else ""
            print(f"# {run.name}{after}\n{command(table, args, [run.seed], [run.fold], row)}")


def command(
    table: TableDefinition,
    args: argparse.Namespace,
    seeds: Sequence[int],
    chosen: Sequence[int | None],
    row: str | None = None,
) -> str:
    """Return the command that runs a table, or one row of it.

    Args:
        table: The table.
        args: This command's options.
        seeds: Of the runs.
        chosen: Their folds.
        row: Name of the row; None is a command for people, without the folders of this machine.
    """
    words = ["echozoo", "table", zoo.shown(table.path)]
    words += ["--scale", args.scale] if args.scale else []
    words += ["--data-root", args.data_root if row else "PATH", "--seeds", *map(str, seeds)]
    words += ["--folds", *map(str, chosen)] if any(chosen) else []
    for flag, values in (("--dataset", args.dataset), ("--cfg-options", args.cfg_options)):
        words += [flag, *key_values(values)] if values else []
    words += ["--amp", args.amp] if args.amp else []
    words += ["--gpus", str(args.gpus)] if args.gpus > 1 else []
    if row:
        words += ["--data-name", args.data_name] if args.data_name else []
        words += ["--work-dirs", str(args.work_dirs), "--rows", row]
    return shlex.join(words)


def stop_like_ctrl_c() -> None:
    """Let a closed terminal or a plain kill end the runs as Ctrl-C does, in the background too."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


@one_line_errors
def main() -> int:
    """Run the tool; the status is 1 where a run has failed."""
    args = parse_args()
    stop_like_ctrl_c()
    args.data_root = args.data_root or os.environ.get("CAMUS_ROOT")
    settings = settings_of(args)
    tables = [plan_table(table, settings) for table in find_tables(args.tables)]
    rows = chosen_rows(tables, args.rows)
    if args.print_commands:
        print_commands(tables, rows, args)
        return 0
    failed: dict[Run, str] = {}
    if not args.only_collect:
        try:
            failed = run(rows, Workshop(args.data_root, args.gpus))
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from the last checkpoints")
            return 130
    for planned in tables:
        table, results = planned.definition, collect(planned)
        comparisons = compare(table, results)
        out = args.out or settings.folder
        shown = command(table, args, args.seeds, settings.folds)
        files = write_table(table, results, comparisons, out, shown, tex=args.latex)
        print(f"{table.name}: {', '.join(map(str, files))}")
    if failed:
        print(f"{len(failed)} runs failed:", file=sys.stderr)
        for one, reason in failed.items():
            print(f"  {one.name}: {reason}", file=sys.stderr)
    return 1 if failed else 0
