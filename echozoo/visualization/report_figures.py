"""Charts and pictures of the report, as text that stands in the page itself."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from echozoo.datasets.anatomy import Structure
from echozoo.errors import DataError
from echozoo.visualization.agreement import Pairs, plot_agreement
from echozoo.visualization.curves import curve_panels

_INK, _GRID = "#333333", "#e4e4e4"
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "echozoo", "text.parse_math": False}
_PICTURE_WIDTH = 900


def training_curves(folder: Path) -> list[str]:
    """Losses and validation Dice of a run as SVG; empty where it has logged none."""
    try:
        with rc_context(_STYLE):
            return [_svg(figure) for figure in curve_panels(folder)]
    except DataError:
        return []


def histograms(rows: Sequence[dict[str, Any]], metric: str, label: str) -> list[str]:
    """Draw how the images are spread over a metric, a chart a structure.

    Args:
        rows: One a case.
        metric: A column of theirs; cases without a number are left out.
        label: Of the axis, with the unit.

    Returns:
        SVG, one for each structure that has a number, all on one axis.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        value = row.get(metric)
        if isinstance(value, float) and np.isfinite(value):
            values.setdefault(row["structure"], []).append(value)
    if not values:
        return []
    together = np.concatenate(list(values.values()))
    bins = np.histogram_bin_edges(together, bins=24, range=_range(together, metric))
    charts = []
    with rc_context(_STYLE):
        for name, numbers in values.items():
            charts.append(_svg(_histogram(name, np.array(numbers), bins, label)))
    return charts


def _range(values: np.ndarray, metric: str) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if metric == "dice":
        return min(np.floor(low * 20) / 20, 0.95), 1.0
    return 0.0, high or 1.0


def _histogram(name: str, values: np.ndarray, bins: np.ndarray, label: str) -> Figure:
    structure = next((s for s in Structure if s.short == name), None)
    colour = np.array(structure.colour) / 255 if structure else _INK
    figure = Figure(figsize=(3.9, 2.3), layout="constrained")
    axes = figure.subplots()
    axes.hist(values, bins, color=colour, alpha=0.75)
    median = float(np.median(values))
    axes.axvline(median, color=_INK, linewidth=1)
    title = f"{structure.full_name if structure else name} · median {median:.3g}"
    axes.set_title(title, loc="left", fontsize=9, color=_INK)
    axes.set_xlabel(label, fontsize=8, color=_INK)
    axes.set_ylabel("images", fontsize=8, color=_INK)
    axes.set_xlim(bins[0], bins[-1])
    axes.tick_params(labelsize=7.5, colors=_INK, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


def ef_agreement(rows: Iterable[dict[str, Any]]) -> str:
    """Draw EF, predicted against reference, and Bland-Altman, as SVG; "" without a pair."""
    pairs = [
        (row["ef_percent"], row["reference_ef_percent"])
        for row in rows
        if isinstance(row.get("ef_percent"), float)
        and isinstance(row.get("reference_ef_percent"), float)
    ]
    pairs = [pair for pair in pairs if np.isfinite(pair).all()]
    if not pairs:
        return ""
    measured, reference = zip(*pairs, strict=True)
    with TemporaryDirectory() as folder, rc_context(_STYLE):
        path = Path(folder) / "ef.svg"
        plot_agreement([Pairs("EF", "%", measured, reference, "points")], path)
        return _inline(path.read_text(encoding="utf-8"))


def picture(path: Path) -> str:
    """Return a picture as a small JPEG in a data URI.

    Raises:
        DataError: The file is no picture.
    """
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no picture ({error}); run echozoo test again") from error
    image.thumbnail((_PICTURE_WIDTH, _PICTURE_WIDTH))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return _inline(text.getvalue())


def _inline(svg: str) -> str:
    """Make matplotlib's SVG a part of a page: the page's colours and font, and no addresses."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style .*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for colour, name in ((_INK, "currentColor"), (_GRID, "var(--line)"), ("#ffffff", "none")):
        svg = svg.replace(f": {colour}", f": {name}")
    return svg
