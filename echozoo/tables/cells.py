"""Numbers as a table shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from echozoo.tables.collect import Measured
from echozoo.tables.compare import Comparison
from echozoo.tables.quantities import Quantity

NOTHING = "-"
UNDEFINED = "undefined"


def measured_cell(quantity: Quantity, measured: Measured | None) -> str:
    """Show a measured quantity: mean, interval, deviation over seeds.

    Args:
        quantity: What it is.
        measured: Its numbers; None was not measured.

    Returns:
        Such as ``91.20 (90.10-92.25) ± 0.31``; a share has its counts before it.
    """
    if measured is None:
        return NOTHING
    if math.isnan(measured.value):
        return UNDEFINED
    factor = 100.0 if quantity.share else quantity.factor
    digits = 1 if quantity.share else quantity.decimals
    text = f"{factor * measured.value:.{digits}f}" + (" %" if quantity.share else "")
    if not math.isnan(measured.low):
        limits = (factor * measured.low, factor * measured.high)
        text += f" ({limits[0]:.{digits}f}-{limits[1]:.{digits}f})"
    if not math.isnan(measured.seed_sd):
        text += f" ± {factor * measured.seed_sd:.{digits}f}"
    if quantity.share:
        text = f"{count(measured.amount)} of {count(measured.total)}, {text}"
    return text


def difference_cell(quantity: Quantity, comparison: Comparison) -> str:
    """Show a mean difference with its interval; of shares in percentage points."""
    factor = 100.0 if quantity.share else quantity.factor
    digits = 1 if quantity.share else quantity.decimals
    one = comparison.paired.difference
    text = f"{factor * one.value:+.{digits}f}"
    if not math.isnan(one.low):
        text += f" ({factor * one.low:+.{digits}f} to {factor * one.high:+.{digits}f})"
    return text


def p_cell(p_value: float) -> str:
    """Show a p-value."""
    if math.isnan(p_value):
        return NOTHING
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def count(number: float) -> str:
    """Show a count, or a mean of counts with a decimal."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def hours(seconds: Iterable[float]) -> str:
    """Show the mean of some times in hours."""
    seconds = list(seconds)
    mean = sum(seconds) / len(seconds) / 3600
    return "<0.01" if 0 < mean < 0.01 else f"{mean:.2f}"


def trained_until(names: Iterable[str]) -> str:
    """Say how long trainings were from the names of their last checkpoints."""
    units = {"epoch": "epoch", "iter": "step"}
    found = []
    for name in dict.fromkeys(names):
        kind, _, number = name.partition("_")
        several = "" if number == "1" else "s"
        found.append(f"{number} {units[kind]}{several}" if kind in units else NOTHING)
    return " / ".join(dict.fromkeys(found)) or NOTHING
