"""The measures of a whole test: CAMUSMetric beside MONAI computing the same numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echozoo.benchmark.results import Column, Result, number, span, text
from echozoo.benchmark.timing import alternate, row_of
from echozoo.errors import EchoZooError
from echozoo.evaluation.functional.masks import resize_nearest
from echozoo.evaluation.functional.surface import PUBLISHED_SIZE
from echozoo.evaluation.metrics.camus_metric import CAMUSMetric

MEASURES = ("dice", "iou", "hd_mm", "hd95_mm", "assd_mm", "hd_px")
TOLERANCE = 1e-4
"""Largest relative difference of two means that passes for equal; MONAI computes in float32."""
COLUMNS = (
    Column("side", text("side")),
    Column("images", text("images")),
    Column("cases", text("cases")),
    Column("median\ns", number("median_s", ".2f")),
    Column("middle half\ns", span("quartiles_s", ".2f")),
    Column("ms/case", number("median_s_per_case", ".2f", 1e3)),
    Column("speed-up", number("speedup", ".2f")),
    Column("its range", span("speedup_range", ".2f")),
    Column("difference", number("difference", ".0e")),
)
Means = dict[str, float]


def compare_measures(
    samples: Sequence[dict[str, Any]], repeats: int = 5, warmup: int = 1, origin: str = "generated"
) -> Result:
    """Measure the same label maps with MONAI and with `CAMUSMetric`.

    Args:
        samples: As `CAMUSMetric` takes them.
        repeats: Rounds that count.
        warmup: Rounds before these.
        origin: Where the label maps are from.

    Returns:
        A row for each side; ``disagreement`` where their means differ.

    Raises:
        EchoZooError: MONAI is not installed.
    """
    sides: dict[str, Callable[[], Means]] = {
        "MONAI": lambda: monai_means(samples),
        "echozoo CAMUSMetric": lambda: own_means(samples),
    }
    found = {name: run() for name, run in sides.items()}
    timings = alternate(sides, repeats, warmup)
    images = sum(len(sample["frames"]) for sample in samples)
    cases = sum(sample["pred_masks"][:, :, 0, 0].size for sample in samples)
    result = Result(f"measures of a test ({origin} label maps)", COLUMNS)
    first, own = sides
    difference, where = _largest_difference(found[own], found[first])
    for name, timing in timings.items():
        result.rows.append(
            {
                "side": name,
                "images": images,
                "cases": cases,
                "median_s_per_case": timing.median / cases,
                "difference": difference if name == own else None,
                "means": found[name],
                **row_of(timing, timings[first]),
            }
        )
    result.notes = [
        f"{', '.join(MEASURES)} of each structure in each image at native size (hd_px at 256 x "
        f"256); rounds by turns: {repeats}, after {warmup} that do not count",
        "difference: the largest of the means of a measure and a structure, relative",
    ]
    if not difference < TOLERANCE:
        result.disagreement = (
            f"measures: {where} is {found[own][where]:.6g} with echozoo and "
            f"{found[first][where]:.6g} with MONAI, wanted a relative difference below "
            f"{TOLERANCE:.0e}"
        )
    return result


def own_means(samples: Sequence[dict[str, Any]]) -> Means:
    """Run `CAMUSMetric` as a test does, one sample at a time.

    Args:
        samples: As it takes them.

    Returns:
        Means over images, by structure and measure: ``lv/dice``.
    """
    metric = CAMUSMetric(report=False)
    for sample in samples:
        metric.process({}, [sample])
    found = metric.evaluate(len(samples))
    names = samples[0]["structures"]
    return {f"{s}/{m}": found[f"camus/{s}/{m}"] for s in names for m in MEASURES}


def monai_means(samples: Sequence[dict[str, Any]]) -> Means:
    """Compute the same with MONAI's functions, one image with all its structures at a time.

    Args:
        samples: As `CAMUSMetric` takes them.

    Returns:
        As `own_means`; cases with an empty mask are in no mean.

    Raises:
        EchoZooError: MONAI is not installed.
    """
    try:
        from monai import metrics
    except ImportError as error:
        raise EchoZooError("metrics: no MONAI to compare with: pip install monai") from error
    values: dict[str, list[Tensor]] = {measure: [] for measure in MEASURES}
    for sample in samples:
        for masks, labels in zip(sample["pred_masks"], sample["native_labels"], strict=True):
            reference = labels == np.arange(1, len(masks) + 1)[:, None, None]  # K, H, W
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of empty masks, which are left out
                row = _monai_row(metrics, masks, reference, sample["spacing"])
            for measure, value in row.items():
                values[measure].append(value)
    means = {measure: torch.stack(rows).nanmean(0) for measure, rows in values.items()}  # K
    names = samples[0]["structures"]
    return {f"{s}/{m}": means[m][k].item() for k, s in enumerate(names) for m in MEASURES}


def _monai_row(
    metrics: ModuleType, masks: np.ndarray, reference: np.ndarray, spacing: tuple[float, float]
) -> dict[str, Tensor]:
    """The measures (K,) of one image's masks (K, H, W); NaN where a mask is empty."""
    pair = [_batch_of_one(masks), _batch_of_one(reference)]
    numbers = [one.float() for one in pair]
    small = [_batch_of_one(_small(masks)), _batch_of_one(_small(reference))]
    whole = dict(include_background=True)
    in_mm = dict(spacing=list(spacing), **whole)
    row = (
        metrics.compute_dice(*numbers, **whole),
        metrics.compute_iou(*numbers, **whole),
        metrics.compute_hausdorff_distance(*pair, **in_mm),
        metrics.compute_hausdorff_distance(*pair, percentile=95, **in_mm),
        metrics.compute_average_surface_distance(*pair, symmetric=True, **in_mm),
        metrics.compute_hausdorff_distance(*small, **whole),
    )
    empty = ~(pair[0].any((-1, -2)) & pair[1].any((-1, -2)))  # 1, K
    clean = [one.double().masked_fill(empty | ~one.isfinite(), float("nan"))[0] for one in row]
    return dict(zip(MEASURES, clean, strict=True))


def _batch_of_one(masks: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(masks))[None]


def _small(masks: np.ndarray) -> np.ndarray:
    return np.stack([resize_nearest(mask, PUBLISHED_SIZE) for mask in masks])


def _largest_difference(found: Means, wanted: Means) -> tuple[float, str]:
    """The largest relative difference of two means, and the name of that mean."""
    differences = {
        name: abs(found[name] - value) / max(abs(value), 1e-9) for name, value in wanted.items()
    }
    where = max(differences, key=lambda name: (np.isnan(differences[name]), differences[name]))
    return differences[where], where
