"""Training curves from the scalars that mmengine's LocalVisBackend writes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from echozoo.datasets.anatomy import STRUCTURES, Structure
from echozoo.errors import DataError

_INK, _GRID = "#333333", "#e4e4e4"
_LOSS_COLOURS = ("#0072b2", "#cc79a7", "#e69f00", "#999999", "#000000")


@dataclass
class Curves:
    """Scalars of a training: name -> step -> value, NaN included.

    Attributes:
        train: By iteration: losses, learning rates, times.
        val: By epoch (or by iteration, where the training counts so): metrics.
    """

    train: dict[str, dict[int, float]] = field(default_factory=dict)
    val: dict[str, dict[int, float]] = field(default_factory=dict)


def read_curves(log: str | Path) -> Curves:
    """Read the scalars of a training and of the runs that resumed it.

    A resumed run repeats what came after its checkpoint: from its first step on, its scalars
    replace those of earlier runs. A line that was cut off when a run was killed is skipped.

    Args:
        log: A ``scalars.json``, or a folder with one below it for each run (folders are named by
            time, so their order is that of the runs).

    Raises:
        DataError: There is no ``scalars.json``.
    """
    log = Path(log)
    files = sorted(log.rglob("scalars.json")) if log.is_dir() else [log]
    if not files or not files[0].is_file():
        raise DataError(
            f"{log}: no scalars.json here; wanted the working directory of a training whose"
            " visualizer has a LocalVisBackend"
        )
    curves = Curves()
    for file in files:
        run = _read_run(file)
        for old, new in ((curves.train, run.train), (curves.val, run.val)):
            _join(old, new)
    return curves


def _read_run(file: Path) -> Curves:
    run = Curves()
    for line in file.read_text().splitlines():
        try:
            scalars = json.loads(line)
        except json.JSONDecodeError:
            continue
        step = scalars.pop("step")
        # Only records of training iterations count iterations.
        curves = run.train if "iter" in scalars else run.val
        for name, value in scalars.items():
            if isinstance(value, int | float):
                curves.setdefault(name, {})[step] = float(value)
    return run


def _join(old: dict[str, dict[int, float]], new: dict[str, dict[int, float]]) -> None:
    start = min((step for curve in new.values() for step in curve), default=np.inf)
    for name in {**old, **new}:
        kept = {step: value for step, value in old.get(name, {}).items() if step < start}
        old[name] = kept | new.get(name, {})


def plot_curves(log: str | Path, out_png: str | Path) -> None:
    """Draw losses and learning rate by iteration, and validation Dice by epoch.

    NaN (an absent structure, a diverged loss) leaves a gap.

    Args:
        log: What `read_curves` takes.
        out_png: The picture to write.

    Raises:
        DataError: There is no ``scalars.json``.
    """
    curves = read_curves(log)
    figure = Figure(figsize=(12, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, width_ratios=(1.2, 1, 1.2))
    for place, draw in zip(axes, (_plot_losses, _plot_rates, _plot_dice), strict=True):
        draw(place, curves)
    figure.savefig(out_png)


def curve_panels(log: str | Path) -> list[Figure]:
    """Draw what `plot_curves` draws, each panel as a figure of its own.

    Args:
        log: What `read_curves` takes.

    Returns:
        Losses and validation Dice.

    Raises:
        DataError: There is no ``scalars.json``.
    """
    curves = read_curves(log)
    figures = []
    for draw in (_plot_losses, _plot_dice):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        axes = figure.subplots()
        draw(axes, curves)
        if axes.get_legend():  # below: a small panel has no room within
            below = {"loc": "upper left", "bbox_to_anchor": (0, -0.18), "ncols": 2}
            axes.legend(fontsize=8, frameon=False, labelcolor=_INK, **below)
        figures.append(figure)
    return figures


def _style(axes: Axes, title: str, xlabel: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    axes.set_xlabel(xlabel, fontsize=9, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if axes.lines:
        axes.legend(fontsize=8, frameon=False, labelcolor=_INK)
    else:
        axes.text(0.5, 0.5, "nothing logged", ha="center", transform=axes.transAxes, color=_INK)


def _line(axes: Axes, curve: dict[int, float], **style: object) -> None:
    steps = sorted(curve)
    # A single value would draw no line.
    marker = "o" if len(steps) < 12 else None
    axes.plot(steps, [curve[s] for s in steps], marker=marker, markersize=3.5, **style)


def _plot_losses(axes: Axes, curves: Curves) -> None:
    train = curves.train
    # The total first and strongest; a single part would be the total under another name.
    parts = sorted(name for name in train if "loss" in name and name != "loss")
    names = (["loss"] if "loss" in train else []) + (parts if len(parts) != 1 else [])
    for name, colour in zip(names, _cycle(_LOSS_COLOURS, len(names)), strict=True):
        label = "total" if name == "loss" else name.split(".")[-1].removeprefix("loss_")
        width = 1.8 if name == "loss" else 1.1
        _line(axes, train[name], label=label, color=colour, linewidth=width)
    _style(axes, "Training loss", "iteration")


def _plot_rates(axes: Axes, curves: Curves) -> None:
    train = curves.train
    names = [name for name in train if name == "lr" or name.endswith(".lr")]
    for name, colour in zip(names, _cycle(_LOSS_COLOURS, len(names)), strict=True):
        _line(axes, train[name], label=name, color=colour, linewidth=1.5)
    if names:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:.2g}")
    _style(axes, "Learning rate", "iteration")


def _plot_dice(axes: Axes, curves: Curves) -> None:
    val = curves.val
    for name in sorted(val, key=_structure_order):
        if name.split("/")[-1] != "dice":
            continue
        structure = _structure(name)
        colour = np.array(structure.colour) / 255 if structure else _INK
        label = structure.full_name if structure else "mean"
        values = [value for value in val[name].values() if np.isfinite(value)]
        if values:
            label = f"{label}, best {max(values):.3f}"
        style = "-" if structure else "--"
        _line(axes, val[name], label=label, color=colour, linewidth=1.6, linestyle=style)
    axes.set_ylim(top=min(1.0, axes.get_ylim()[1]) if axes.lines else 1.0)
    _style(axes, "Validation Dice", "epoch" if "epoch" in curves.train else "iteration")


def _structure(name: str) -> Structure | None:
    parts = name.split("/")
    return next((s for s in Structure if s.short in parts), None)


def _structure_order(name: str) -> int:
    structure = _structure(name)
    return STRUCTURES.index(structure.short) if structure else len(STRUCTURES)


def _cycle(colours: Iterable[str], count: int) -> list[str]:
    colours = list(colours)
    return [colours[i % len(colours)] for i in range(count)]
