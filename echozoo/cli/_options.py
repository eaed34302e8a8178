"""Options that several commands have: one name a thing, with one meaning."""

from __future__ import annotations

import argparse
import os


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Let the data folder be given by its place, or as ``--data-root`` as everywhere.

    Args:
        parser: Gets ``root``, None where neither is given.
    """
    parser.add_argument(
        "root", nargs="?", default=argparse.SUPPRESS, help="data folder; without it, CAMUS_ROOT"
    )
    parser.add_argument("--data-root", dest="root", metavar="ROOT", help="the same")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Let the number of processes be chosen.

    Args:
        parser: Gets ``workers``, all cores where nothing is given.
    """
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: all cores)",
    )
