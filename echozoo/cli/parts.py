"""Print every registered part: its kind, its name, what it is, and its size where it is a network.

echozoo parts
echozoo parts --kind "temporal module"
echozoo parts --all
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.registry import Registry
from rich.console import Console
from rich.table import Table
from torch import nn

from echozoo import registry
from echozoo.engine.config_options import closest
from echozoo.errors import ConfigError, one_line_errors
from echozoo.options import command_parser

# What a part is built with to count its parameters: its defaults, else the width of SAM ViT-B's
# tokens, or of its embeddings.
SIZES = ({}, {"embed_dims": 768}, {"in_channels": 256})


def kinds() -> dict[str, Registry]:
    """Return echozoo's registries by the name of their kind, their parts imported."""
    found = {node.name: node for node in vars(registry).values() if isinstance(node, Registry)}
    for node in found.values():
        node.import_from_location()
    return found


def own_parts(node: Registry) -> Iterator[tuple[str, Any]]:
    """Yield name and class of what echozoo has registered in a kind."""
    for name, part in sorted(node.module_dict.items()):
        if part.__module__.startswith("echozoo."):
            yield name, part


def upstream_parts(node: Registry) -> Iterator[tuple[str, str]]:
    """Yield name and scope of what the packages below echozoo have registered in a kind."""
    parent = node.parent
    while parent is not None:
        yield from ((name, parent.scope) for name in sorted(parent.module_dict))
        parent = parent.parent


def parameters(part: Any) -> str:
    """Return the number of parameters of a network with its defaults, "" where it has none.

    Args:
        part: What is registered; nothing is allocated to build it.
    """
    if not (inspect.isclass(part) and issubclass(part, nn.Module)):
        return ""
    for size in SIZES:
        # A part that a config has to describe further, a segmentor say, has no size of its own.
        with contextlib.suppress(Exception), torch.device("meta"):
            count = sum(p.numel() for p in part(**size).parameters())
            width = f" ({', '.join(f'{k}={v}' for k, v in size.items())})" if size else ""
            return f"{count:,}{width}" if count else ""
    return ""


@one_line_errors
def main() -> None:
    """Print the table."""
    parser = command_parser(__doc__)
    parser.add_argument("--kind", help="one kind only: model, dataset, transform, ...")
    parser.add_argument("--all", action="store_true", help="also mmseg's and mmengine's, by name")
    args = parser.parse_args()
    there = kinds()
    if args.kind and args.kind not in there:
        hint = closest(args.kind, there)
        raise ConfigError(f"--kind {args.kind}: no such kind{hint} ({', '.join(sorted(there))})")

    table = Table()
    for name in ("kind", "name"):
        table.add_column(name, no_wrap=True)
    table.add_column("what it is", no_wrap=True, overflow="ellipsis")
    table.add_column("parameters", justify="right", no_wrap=True)
    for kind in [args.kind] if args.kind else there:
        for name, part in own_parts(there[kind]):
            line = (inspect.getdoc(part) or "").partition("\n")[0]
            table.add_row(kind, name, line, parameters(part))
        if args.all:
            for name, scope in upstream_parts(there[kind]):
                table.add_row(kind, name, f"({scope})", "")
        table.add_section()
    # A pipe has no width of its own: let nothing be cut there.
    Console(width=None if sys.stdout.isatty() else 190).print(table)
