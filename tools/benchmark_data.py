"""The parts of tools/benchmark.py without a network: an epoch of data, the measures of a test."""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from echozoo.engine import launch
from echozoo.errors import EchoZooError
from echozoo.evaluation.functional.masks import resize_nearest
from echozoo.registry import DATASETS, METRICS

MEASURES = ("dice", "iou", "hd_mm", "hd95_mm", "assd_mm", "hd_px")
STRUCTURES = ("lv", "myo", "la")
Alternate = Callable[[Mapping[str, Callable]], list[dict[str, Any]]]


def measure_data(args: argparse.Namespace, cfg: Config, alternate: Alternate) -> list[dict]:
    """Measure an epoch of the training part, from the cache and with every file decoded again."""
    size = cfg.train_dataloader.get("batch_size", 1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        nowhere = Path(folder, "file")  # a folder inside a file cannot be: nothing is cached
        nowhere.touch()
        places = {"decoding files": nowhere / "cache", "from the cache": Path(folder, "cache")}
        for what, steps in (("reading alone", 1), ("whole pipeline", None)):
            sets = {name: _data(cfg, place, steps) for name, place in places.items()}
            collate = list if steps else pseudo_collate
            loaders = [
                DataLoader(one, size, False, num_workers=args.workers, collate_fn=collate)
                for one in sets.values()
            ]
            # An epoch: all batches, none of which is kept.
            epochs = [partial(lambda loader: [None for _ in loader], one) for one in loaders]
            measured = alternate(dict(zip(sets, epochs, strict=True)))
            count = len(sets["from the cache"])
            rows += [{**row, "what": f"{what}, {count} clips"} for row in measured]
            if steps:
                pairs = zip(*sets.values(), strict=True)
                wrong = sum(not np.array_equal(a["images"], b["images"]) for a, b in pairs)
                rows[-1]["difference"] = wrong / count
    return rows


def _data(cfg: Config, cache: Path, steps: int | None) -> Dataset:
    """The training part with the first steps of its pipeline, or all."""
    cfg = copy.deepcopy(cfg)
    launch.set_data(cfg, None, {"cache_dir": str(cache)})
    for leaf in launch.leaves(cfg.train_dataloader.dataset):
        leaf["pipeline"] = leaf["pipeline"][:steps]
    return DATASETS.build(cfg.train_dataloader.dataset)


def measure_metrics(args: argparse.Namespace, cfg: Config, alternate: Alternate) -> list[dict]:
    """Measure label maps as CAMUSMetric does, and with MONAI."""
    try:
        import monai  # noqa: F401
    except ImportError as error:
        raise EchoZooError("metrics: no MONAI to compare with: pip install monai") from error
    found = _real(cfg) if args.data_root else _generated(args.patients)
    rng = np.random.default_rng(0)
    samples = [_sample(*one, rng) for one in found]
    sides = {"MONAI": partial(_monai, samples), "echozoo": partial(_own, samples)}
    means = {name: run() for name, run in sides.items()}
    rows = alternate(sides)
    gaps = [abs(means["echozoo"][key] / value - 1) for key, value in means["MONAI"].items()]
    rows[-1]["difference"] = float(np.max(gaps))
    cases = sum(sample["pred_masks"][:, :, 0, 0].size for sample in samples)
    origin = "real" if args.data_root else "generated"
    return [{**row, "what": f"{cases} cases, {origin} label maps"} for row in rows]


def _real(cfg: Config) -> Iterator[tuple[str, str, np.ndarray, tuple[float, float]]]:
    """Patient, view, label maps (T, H, W) and spacing of the test part's ED and ES."""
    steps = [dict(type="LoadClip"), dict(type="PackClip")]
    stills = dict(frames="ed_es", clip_length=None, pipeline=steps, structures=STRUCTURES)
    for item in DATASETS.build({**cfg.test_dataloader.dataset, **stills}):
        sample = item["data_samples"]
        yield sample.patient, sample.view, sample.native_labels.numpy(), sample.spacing


def _generated(patients: int) -> Iterator[tuple[str, str, np.ndarray, tuple[float, float]]]:
    """The same, of ellipses at CAMUS's size and spacing."""
    y, x = np.mgrid[-1:1:600j, -1:1:500j]
    for patient in range(patients):
        for view in ("2CH", "4CH"):
            sizes = 0.25 + 0.02 * np.array([[patient % 5], [patient % 7]])
            radius = np.sqrt((y + 0.2) ** 2 / sizes[:, None] + x**2 / sizes[:, None] * 3)
            labels = np.where(radius < 1, 1, 2 * (radius < 1.2))  # LV inside its myocardium
            atrium = (np.hypot(y - 0.65, x) < 0.25) & (labels == 0)
            yield f"{patient}", view, np.where(atrium, 3, labels).astype(np.uint8), (0.308, 0.308)


def _sample(
    patient: str,
    view: str,
    labels: np.ndarray,
    spacing: tuple[float, float],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """A sample as the metric takes it; its prediction is off by some pixels."""
    predicted = np.roll(labels, rng.integers(-5, 6, 2), (1, 2))
    return {
        "patient": patient,
        "view": view,
        "sequence": f"{patient}_{view}",
        "frames": tuple(range(len(labels))),
        "instants": ("ED", "ES")[: len(labels)],
        "structures": STRUCTURES,
        "spacing": spacing,
        "quality": None,
        "native_labels": labels,
        "pred_masks": predicted[:, None] == np.arange(1, 4)[:, None, None],  # (T, K, H, W)
        "pred_labels": predicted,
    }


def _own(samples: list[dict[str, Any]]) -> dict[str, float]:
    """Means over images as a test has them, by structure and measure: ``lv/dice``."""
    metric = METRICS.build(dict(type="CAMUSMetric", report=False))
    for sample in samples:
        metric.process({}, [sample])
    found = metric.evaluate(len(samples))
    return {f"{s}/{m}": found[f"{metric.prefix}/{s}/{m}"] for s in STRUCTURES for m in MEASURES}


def _monai(samples: list[dict[str, Any]]) -> dict[str, float]:
    """The same by MONAI; cases with an empty mask are in no mean."""
    rows = []
    for sample in samples:
        for masks, labels in zip(sample["pred_masks"], sample["native_labels"], strict=True):
            wanted = labels == np.arange(1, 4)[:, None, None]  # (K, H, W)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of empty masks, which are left out
                rows.append(_monai_image(masks, wanted, list(sample["spacing"])))
    means = torch.stack(rows).nanmean(0).numpy()  # (measures, K)
    names = [f"{s}/{m}" for m in MEASURES for s in STRUCTURES]
    return dict(zip(names, means.ravel().tolist(), strict=True))


def _monai_image(masks: np.ndarray, wanted: np.ndarray, spacing: list[float]) -> Tensor:
    """The measures (measures, K) of one image's masks (K, H, W); NaN where a mask is empty."""
    from monai import metrics

    pair = [torch.from_numpy(np.ascontiguousarray(one))[None] for one in (masks, wanted)]
    small = [
        torch.from_numpy(np.stack([resize_nearest(mask, (256, 256)) for mask in one]))[None]
        for one in (masks, wanted)
    ]
    mm = dict(include_background=True, spacing=spacing)
    values = (
        metrics.compute_dice(*(one.float() for one in pair), include_background=True),
        metrics.compute_iou(*(one.float() for one in pair), include_background=True),
        metrics.compute_hausdorff_distance(*pair, **mm),
        metrics.compute_hausdorff_distance(*pair, percentile=95, **mm),
        metrics.compute_average_surface_distance(*pair, symmetric=True, **mm),
        metrics.compute_hausdorff_distance(*small, include_background=True),
    )
    stacked = torch.cat([value.double() for value in values])  # (measures, K)
    empty = ~(pair[0].any((-1, -2)) & pair[1].any((-1, -2)))  # (1, K)
    return stacked.masked_fill(empty | ~stacked.isfinite(), float("nan"))
