"""Results on screen, as Markdown and as JSON, with the machine that they were measured on."""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from echozoo.benchmark.results import Result
from echozoo.evaluation.report import origin, write_content, write_text
from echozoo.tables.record import cpu_name

_WIDEST = 200  # a table takes the room that it needs, in a log as on a screen


def machine(device: str) -> dict[str, Any]:
    """Describe what the numbers were measured on.

    Args:
        device: Where networks computed.
    """
    on_gpu = torch.device(device).type == "cuda"
    return {
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def shown_command(words: Sequence[str]) -> str:
    """Write a command line without the folders of this machine.

    Args:
        words: The command; of absolute paths in it only the last name is kept.
    """
    return shlex.join(re.sub(r"(^|=)[/~][^=]*", _last_name, word) for word in words)


def _last_name(path: re.Match[str]) -> str:
    return path[1] + Path(path[0].removeprefix(path[1])).name


def print_results(results: Sequence[Result]) -> None:
    """Show the tables.

    Args:
        results: Of all parts.
    """
    console = Console(width=_WIDEST, highlight=False)
    for result in results:
        table = Table(title=result.title, title_justify="left", box=SIMPLE_HEAD)
        for column in result.columns:
            table.add_column(column.heading, no_wrap=True, justify="right")
        for row in result.rows:
            table.add_row(*(column.cell(row) for column in result.columns))
        console.print(table)
        for note in result.notes:
            console.print(note, markup=False, soft_wrap=True)
        console.print()


def write_results(
    folder: Path, results: Sequence[Result], settings: Mapping[str, Any], command: Sequence[str]
) -> list[Path]:
    """Write ``benchmark.json``, with every time measured, and ``benchmark.md``.

    Args:
        folder: Made where it does not exist.
        results: Of all parts.
        settings: Config, scale, and the machine.
        command: The command line; it is written as `shown_command` shows it.

    Returns:
        The files.

    Raises:
        ConfigError: They cannot be written.
    """
    head = {**origin(), "command": shown_command(command), **settings}
    parts = [asdict(result) for result in results]
    for part in parts:
        del part["columns"]
    content = {**head, "units": "seconds, bytes, floating-point operations", "parts": parts}
    return [
        write_content(folder / "benchmark.json", content),
        write_text(folder / "benchmark.md", _markdown(results, head)),
    ]


def _markdown(results: Sequence[Result], head: Mapping[str, Any]) -> str:
    machine, versions = head["machine"], head["versions"]
    hardware = f"{machine['cpu']} ({machine['cpu_capability']}), {machine['cores']} cores"
    if machine["gpu"]:
        hardware = f"{machine['gpu']}; {hardware}"
    lines = [
        "# Benchmark",
        "",
        f"`{head['command']}`",
        "",
        f"{hardware}, {machine['threads']} threads, {machine['system']}, torch "
        f"{versions['torch']}, {head['date']}.",
    ]
    for result in results:
        headings = [" ".join(column.heading.split()) for column in result.columns]
        lines += ["", f"## {result.title}", "", _line(headings)]
        lines.append(_line(["---", *["--:"] * (len(headings) - 1)]))
        lines += [_line([column.cell(row) for column in result.columns]) for row in result.rows]
        lines += ["", *(f"- {note}" for note in result.notes)]
        lines += [f"- **not equal**: {result.disagreement}"] if result.disagreement else []
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
