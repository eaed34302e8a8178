"""An epoch over the training data, from the cache and with every file decoded again."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader, Dataset

from echozoo.benchmark.results import Column, Result, number, span, text
from echozoo.benchmark.timing import Timing, alternate, row_of
from echozoo.engine import launch
from echozoo.errors import ConfigError
from echozoo.registry import DATASETS

COLUMNS = (
    Column("what", text("what")),
    Column("side", text("side")),
    Column("clips", text("clips")),
    Column("median\ns", number("median_s", ".2f")),
    Column("middle half\ns", span("quartiles_s", ".2f")),
    Column("ms/clip", number("median_s_per_clip", ".2f", 1e3)),
    Column("clips/s", number("clips_per_s", ".1f")),
    Column("speed-up", number("speedup", ".2f")),
    Column("its range", span("speedup_range", ".2f")),
)
DECODED, CACHED = "decoding files", "from the cache"


def compare_data(cfg: Config, repeats: int = 5, warmup: int = 1, workers: int = 0) -> Result:
    """Measure epochs over a config's training data, without a model.

    Args:
        cfg: Its data folder is set.
        repeats: Rounds that count.
        warmup: Rounds before these.
        workers: Processes that load; 0 loads in this one.

    Returns:
        Rows for reading alone and for the whole pipeline with batches; ``disagreement`` where
        the cache holds other pixels than the files.

    Raises:
        ConfigError: The config has no data folder.
    """
    result = Result("data: an epoch over the training part, no model", COLUMNS)
    batch_size = (cfg.get("train_dataloader") or {}).get("batch_size", 1)
    with tempfile.TemporaryDirectory() as folder:
        # A folder inside a file cannot be: whatever is read is decoded.
        nowhere = Path(folder, "file")
        nowhere.touch()
        places = {DECODED: nowhere / "cache", CACHED: Path(folder, "cache")}
        for what, steps, collate in (
            ("reading alone", 1, list),
            ("whole pipeline", None, pseudo_collate),
        ):
            sets = {name: _build(cfg, place, steps) for name, place in places.items()}
            if steps == 1:
                result.disagreement = _disagreement(sets[CACHED], sets[DECODED])
            epochs = {
                name: _epoch(DataLoader(one, batch_size, num_workers=workers, collate_fn=collate))
                for name, one in sets.items()
            }
            timings = alternate(epochs, repeats, warmup)
            result.rows += _rows(what, timings, len(sets[CACHED]))
    where = f"{workers} worker processes" if workers else "this process"
    result.notes = [
        f"epochs of each by turns: {repeats}, after {warmup} that do not count; loaded in {where}, "
        f"batches of {batch_size}; a training step starves where its clips take longer than it",
        "reading alone: the first step of the pipeline, with resizing where that does it; whole "
        "pipeline: also augmentations, prompts, packing, batches",
    ]
    return result


def _rows(what: str, timings: Mapping[str, Timing], clips: int) -> list[dict[str, Any]]:
    rows = []
    for name, timing in timings.items():
        rows.append(
            {
                "what": what,
                "side": name,
                "clips": clips,
                "median_s_per_clip": timing.median / clips,
                "clips_per_s": clips / timing.median,
                **row_of(timing, timings[DECODED]),
            }
        )
    return rows


def _build(cfg: Config, cache_dir: Path, steps: int | None) -> Dataset:
    """The training data with the first steps of its pipeline, or all."""
    cfg = copy.deepcopy(cfg)
    launch.set_data(cfg, None, {"cache_dir": str(cache_dir)})
    dataset = (cfg.get("train_dataloader") or {}).get("dataset")
    if not dataset:
        raise ConfigError(f"{cfg.filename}: no train_dataloader.dataset whose epochs to measure")
    for leaf in launch.leaves(dataset):
        leaf["pipeline"] = leaf["pipeline"][:steps]
    return DATASETS.build(dataset)


def _epoch(loader: DataLoader) -> Callable[[], None]:
    def run() -> None:
        for _ in loader:
            pass

    return run


def _disagreement(cached: Dataset, decoded: Dataset) -> str | None:
    """Say which clip the cache has other pixels of, if any."""
    for index in range(len(decoded)):
        ours, theirs = cached[index], decoded[index]
        for key in ("images", "labels"):
            if key in theirs and not np.array_equal(ours[key], theirs[key]):
                name = theirs["sequence"]
                return f"data: {key} of {name} differ between the cache and the files"
    return None
