"""The table of a network's parts, their parameters, and how many of them train."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from torch import nn

from echozoo.registry import HOOKS


@dataclass(frozen=True)
class PartCount:
    """A line of the table: numbers of parameters, of which ``trainable`` get gradients."""

    part: str
    parameters: int
    trainable: int


def count_parameters(model: nn.Module) -> list[PartCount]:
    """Count the parameters of each part that has any; the backbone's parts one by one as well.

    Returns:
        The parts in the network's order, those of the backbone as ``backbone.<part>``, then
        ``total``. A parameter that several parts share counts in each, and once in the total.
    """
    rows = []
    for name, part in [*model.named_children(), ("(own)", _own(model))]:
        rows.append(_count(name, part.parameters()))
        if name == "backbone":
            children = [*part.named_children(), ("(own)", _own(part))]
            rows += [_count(f"backbone.{n}", child.parameters()) for n, child in children]
    rows = [row for row in rows if row.parameters]
    return [*rows, _count("total", model.parameters())]


def _own(module: nn.Module) -> nn.ParameterList:
    return nn.ParameterList(module.parameters(recurse=False))


def _count(part: str, parameters: Iterable[nn.Parameter]) -> PartCount:
    unique = list({id(p): p for p in parameters}.values())
    return PartCount(
        part, sum(p.numel() for p in unique), sum(p.numel() for p in unique if p.requires_grad)
    )


def parameter_table(model: nn.Module) -> Table:
    """Draw the table of a network's parts.

    Returns:
        A table with part, parameters, trainable ones, and their share of the part.
    """
    table = Table("part", title=type(model).__name__, title_justify="left")
    for heading in ("parameters", "trainable", "share"):
        table.add_column(heading, justify="right")
    for row in count_parameters(model):
        if row.part == "total":
            table.add_section()
        indent = "  " if row.part.startswith("backbone.") else ""
        share = f"{row.trainable / row.parameters:.1%}" if row.parameters else "-"
        name = indent + row.part.removeprefix("backbone.")
        table.add_row(name, f"{row.parameters:,}", f"{row.trainable:,}", share)
    return table


@HOOKS.register_module()
class ParameterTableHook(Hook):
    """Log the table of parameters at the start of a training."""

    def before_train(self, runner: Runner) -> None:
        """Log the table; only the first of several processes shows it.

        Args:
            runner: The runner; its ``model`` is counted.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        text = io.StringIO()
        Console(file=text, width=88).print(parameter_table(model))
        runner.logger.info("Parameters\n" + text.getvalue().rstrip())
