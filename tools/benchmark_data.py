"""The parts of tools/benchmark.py without a network: an epoch of data, the measures of a test."""

from __future__ import annotations

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
from torch.utils.data import DataLoader, Dataset

from echozoo.engine import launch
from echozoo.errors import EchoZooError
from echozoo.evaluation.functional.masks import resize_nearest
from echozoo.registry import DATASETS, METRICS

MEASURES = ("dice", "iou", "hd_mm", "hd95_mm", "assd_mm", "hd_px")
Alternate = Callable[[Mapping[str, Callable]], list[dict[str, Any]]]


def measure_data(cfg: Config, alternate: Alternate) -> list[dict]:
    """Measure an epoch of the training part, from the cache and with every file decoded again."""
    size, rows = cfg.train_dataloader.get("batch_size", 1), []
    with tempfile.TemporaryDirectory() as folder:
        nowhere = Path(folder, "file")  # a folder inside a file cannot be: nothing is cached
        nowhere.touch()
        places = {"decoding files": nowhere / "cache", "from the cache": Path(folder, "cache")}
        for what, steps in (("reading alone", 1), ("whole pipeline", None)):
            sets = {name: _data(cfg, place, steps) for name, place in places.items()}
            collate = list if steps else pseudo_collate
            loaders = {name: DataLoader(s, size, collate_fn=collate) for name, s in sets.items()}
            epochs = {name: partial(_read, loader) for name, loader in loaders.items()}
            count = len(sets["from the cache"])
            rows += [{**row, "what": f"{what}, {count} clips"} for row in alternate(epochs)]
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


def _read(loader: DataLoader) -> None:
    for _ in loader:
        pass


def measure_metrics(cfg: Config, patients: int | None, alternate: Alternate) -> list[dict]:
    """Measure label maps, generated or of the test part, as a test does, and with MONAI."""
    try:
        import monai  # noqa: F401
    except ImportError as error:
        raise EchoZooError("metrics: no MONAI to compare with: pip install monai") from error
    samples = list(_real(cfg) if patients is None else _generated(patients))
    sides = {"MONAI": partial(_monai, samples), "echozoo": partial(_own, samples)}
    theirs, ours = (run() for run in sides.values())
    rows = alternate(sides)
    rows[-1]["difference"] = float(np.nanmax(np.abs(ours / theirs - 1)))
    cases = sum(sample["pred_masks"][:, :, 0, 0].size for sample in samples)
    kind = "real" if patients is None else "generated"
    return [{**row, "what": f"{cases} cases, {kind} label maps"} for row in rows]


def _real(cfg: Config) -> Iterator[dict]:
    """The label maps of the test part's ED and ES."""
    steps = [dict(type="LoadClip"), dict(type="PackClip")]
    stills = dict(frames="ed_es", clip_length=None, pipeline=steps)
    for item in DATASETS.build({**cfg.test_dataloader.dataset, **stills}):
        one = item["data_samples"]
        about = one.patient, one.view, one.instants, one.spacing
        yield _sample(one.native_labels.numpy(), one.structures, *about)


def _generated(patients: int) -> Iterator[dict]:
    """The same, of ellipses at CAMUS's size and spacing."""
    y, x = np.mgrid[-1:1:600j, -1:1:500j]
    for patient in range(patients):
        sizes = 0.25 + 0.02 * np.array([patient % 5, patient % 7])[:, None, None]
        radius = np.sqrt((y + 0.2) ** 2 / sizes + x**2 / sizes * 3)
        labels = np.where(radius < 1, 1, 2 * (radius < 1.2))  # LV inside its myocardium
        labels[(np.hypot(y - 0.65, x) < 0.25) & (labels == 0)] = 3
        for view in ("2CH", "4CH"):
            about = str(patient), view, ("ED", "ES"), (0.308, 0.308)
            yield _sample(labels.astype(np.uint8), ("lv", "myo", "la"), *about)


def _sample(labels: np.ndarray, structures: tuple, patient: str, view: str, *about: Any) -> dict:
    """A sample as the metric takes it; its prediction is off by some pixels."""
    draw = np.random.default_rng(abs(hash((patient, view))))
    predicted = np.roll(labels, draw.integers(-5, 6, 2), (1, 2))
    values = np.arange(1, len(structures) + 1)[:, None, None]
    return dict(
        patient=patient,
        view=view,
        sequence=f"{patient}_{view}",
        frames=tuple(range(len(labels))),
        instants=about[0],
        spacing=about[1],
        structures=structures,
        quality=None,
        native_labels=labels,
        pred_masks=predicted[:, None] == values,  # (T, K, H, W)
        pred_labels=predicted,
    )


def _own(samples: list[dict]) -> np.ndarray:
    """Means over images as a test has them, (measures, K)."""
    metric = METRICS.build(dict(type="SegmentationMetric", report=False))
    for sample in samples:
        metric.process({}, [sample])
    found, names = metric.evaluate(len(samples)), samples[0]["structures"]
    return np.array([[found[f"{metric.prefix}/{s}/{m}"] for s in names] for m in MEASURES])


def _monai(samples: list[dict]) -> np.ndarray:
    """The same by MONAI; cases with an empty mask are in no mean."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty masks
        return torch.cat([_monai_film(sample) for sample in samples], 1).nanmean(1).numpy()


def _monai_film(sample: dict) -> torch.Tensor:
    """The measures (measures, T, K) of a film; NaN where a mask is empty."""
    from monai import metrics

    values = np.arange(1, len(sample["structures"]) + 1)[:, None, None]
    both = [sample["pred_masks"], sample["native_labels"][:, None] == values]  # (T, K, H, W)
    pair = [torch.from_numpy(one) for one in both]
    small = [
        torch.from_numpy(np.stack([[resize_nearest(m, (256, 256)) for m in f] for f in one]))
        for one in both
    ]
    every = dict(include_background=True)
    mm = every | dict(spacing=list(sample["spacing"]))
    found = (
        metrics.compute_dice(*(one.float() for one in pair), **every),
        metrics.compute_iou(*(one.float() for one in pair), **every),
        metrics.compute_hausdorff_distance(*pair, **mm),
        metrics.compute_hausdorff_distance(*pair, percentile=95, **mm),
        metrics.compute_average_surface_distance(*pair, symmetric=True, **mm),
        metrics.compute_hausdorff_distance(*small, **every),
    )
    stacked = torch.stack([value.double() for value in found])
    empty = ~(pair[0].any((-1, -2)) & pair[1].any((-1, -2)))  # (T, K)
    return stacked.masked_fill(empty | ~stacked.isfinite(), torch.nan)
