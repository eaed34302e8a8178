"""Correlation and Bland-Altman plots of two ways of measuring the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from echozoo.evaluation.functional.agreement import Agreement, Interval, agreement

# The intervals of fewer patients would cover the whole plot.
_ENOUGH = 10
_INK, _GRID, _POINT, _LINE = "#333333", "#e4e4e4", "#0072b2", "#d55e00"


class Pairs(NamedTuple):
    """One quantity, measured in two ways."""

    name: str
    """For titles, "EF"."""
    unit: str
    """For axes, "%"."""
    measured: Sequence[float]
    reference: Sequence[float]
    difference_unit: str | None = None
    """Where differences have another unit, "points"."""


def plot_agreement(
    quantities: Sequence[Pairs],
    out_png: str | Path,
    measured: str = "predicted",
    reference: str = "reference",
) -> None:
    """Draw a row for each quantity: scatter with the line of identity, and Bland-Altman.

    The Bland-Altman plot shows the bias and the limits of agreement, from 10 patients on with
    bands for their 95 % intervals. Pairs with a number missing are left out; a quantity without
    pairs has no row.

    Args:
        quantities: What to draw.
        out_png: The picture to write; its folder is made.
        measured: What the measured numbers are.
        reference: What they are compared with.
    """
    shown = [(pairs, *_known(pairs)) for pairs in quantities]
    shown = [row for row in shown if len(row[1])]
    figure = Figure(figsize=(10, 4.1 * max(len(shown), 1)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(max(len(shown), 1), 2, squeeze=False)
    if not shown:
        for axis in axes.flat:
            axis.set_axis_off()
        axes[0, 0].text(0, 0.5, "no pair of numbers to compare", color=_INK)
    for (left, right), (pairs, ours, theirs) in zip(axes, shown, strict=False):
        found = agreement(ours, theirs, n_resamples=0)
        _scatter(left, pairs, ours, theirs, found)
        left.set_xlabel(f"{reference}, {pairs.unit}", fontsize=9, color=_INK)
        left.set_ylabel(f"{measured}, {pairs.unit}", fontsize=9, color=_INK)
        _bland_altman(right, pairs, ours, theirs, found)
        right.set_xlabel(f"mean of both, {pairs.unit}", fontsize=9, color=_INK)
        unit = pairs.difference_unit or pairs.unit
        right.set_ylabel(f"{measured} - {reference}, {unit}", fontsize=9, color=_INK)
    Path(out_png).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png)


def _known(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    sides = np.array([pairs.measured, pairs.reference], dtype=float).reshape(2, -1)
    ours, theirs = sides[:, np.isfinite(sides).all(axis=0)]
    return ours, theirs


def _scatter(
    axes: Axes, pairs: Pairs, ours: np.ndarray, theirs: np.ndarray, found: Agreement
) -> None:
    r = found.pearson_r.value
    correlation = "" if np.isnan(r) else f", r = {r:.3f}"
    _style(axes, f"{pairs.name}: {found.num_pairs} patients{correlation}")
    low, high = min(ours.min(), theirs.min()), max(ours.max(), theirs.max())
    margin = 0.06 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.scatter(theirs, ours, s=22, color=_POINT, alpha=0.7, linewidths=0)
    axes.set(xlim=limits, ylim=limits, aspect="equal")


def _bland_altman(
    axes: Axes, pairs: Pairs, ours: np.ndarray, theirs: np.ndarray, found: Agreement
) -> None:
    mae = f"MAE {found.mae.value:.1f} {pairs.difference_unit or pairs.unit}"
    _style(axes, f"{pairs.name}: {mae}")
    axes.axhline(0, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    differences = ours - theirs
    axes.scatter((ours + theirs) / 2, differences, s=22, color=_POINT, alpha=0.7, linewidths=0)
    lines = [found.bias.value, found.loa_low.value, found.loa_high.value, 0.0]
    values = np.concatenate([differences, [line for line in lines if np.isfinite(line)]])
    margin = 0.15 * np.ptp(values) or 1.0
    axes.set_ylim(values.min() - margin, values.max() + margin)
    for name, line in (
        ("bias", found.bias),
        ("+1.96 SD", found.loa_high),
        ("-1.96 SD", found.loa_low),
    ):
        _level(axes, name, line, enough=found.num_pairs >= _ENOUGH)


def _level(axes: Axes, name: str, line: Interval, enough: bool) -> None:
    if np.isnan(line.value):
        return
    if enough and not np.isnan(line.low):
        axes.axhspan(line.low, line.high, color=_LINE, alpha=0.1, linewidth=0)
    axes.axhline(line.value, color=_LINE, linewidth=1.4)
    axes.annotate(
        f"{name}\n{line.value:+.1f}",
        (1, line.value),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=_INK,
    )


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    axes.tick_params(labelsize=8, colors=_INK, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
