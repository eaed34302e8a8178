"""Count the clicks that masks take, by a simulated person who clicks where they are wrong.

    echozoo clicks work_dirs/samus --data-root /data/CAMUS -o clicks.csv
    echozoo clicks configs/lite_medsam_auto.py lite_medsam_auto.safetensors

Each labelled frame of the test subset and each structure is clicked on until its Dice is --goal, at
most --most times. A model that needs no prompts starts from its own mask, all others from nothing;
--failed counts only what its own mask gets wrong.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.registry import init_default_scope
from rich.progress import track

from echozoo.apis.correcting import NEVER, clicks_needed, correct
from echozoo.apis.loading import load_model
from echozoo.apis.model import LoadedModel
from echozoo.datasets.film_dataset import FilmDataset
from echozoo.engine import failures, launch
from echozoo.errors import ConfigError, one_line_errors
from echozoo.options import command_parser
from echozoo.registry import DATASETS
from echozoo.whole_files import written_whole

_SHOWN = (0, 1, 2, 3, 5)
"""After how many clicks the table gives the mean Dice."""


class Line(NamedTuple):
    """What the clicks did to one structure of one frame: Dice after none, one, two and so on."""

    sequence: str
    frame: int
    structure: str
    reached: list[float]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("config", help="a run's work folder, a config, or a published model")
    parser.add_argument("checkpoint", nargs="?", help="weights, or a run's work folder")
    parser.add_argument("--data-root", help="the data set's folder (or environment CAMUS_ROOT)")
    parser.add_argument(
        "--subset", choices=("train", "val", "test"), help="default: %(default)s", default="test"
    )
    parser.add_argument("--goal", type=float, default=0.9, help="Dice wanted (default: 0.9)")
    parser.add_argument("--most", type=int, default=20, help="clicks at most (default: 20)")
    parser.add_argument(
        "--failed", action="store_true", help="only structures below the goal without a click"
    )
    parser.add_argument("--device", help="cpu, cuda, … (default: a GPU where there is one)")
    parser.add_argument("-o", "--out", type=Path, help="a CSV of all structures and clicks")
    args = parser.parse_args()
    if not 0 < args.goal <= 1 or args.most < 1:
        parser.error(f"--goal {args.goal} --most {args.most}: wanted up to 1, and 1 or more")
    return args


@one_line_errors
def main() -> None:
    """Click through the subset, print the table, write the lines."""
    args = parse_args()
    loaded = load_model(args.config, args.checkpoint, args.device)
    if "points" not in loaded.understands:
        known = " and ".join(loaded.understands) or "no prompts"
        raise ConfigError(f"{args.config}: takes {known}, wanted a model that takes clicks")
    with failures.one_line():
        dataset = _dataset(loaded, args.subset, args.data_root or os.environ.get("CAMUS_ROOT"))
        lines = list(_clicked(loaded, dataset, args.goal, args.most))
    if args.failed:
        lines = [line for line in lines if line.reached[0] < args.goal]
    for text in table(lines, args.goal, args.most):
        print(text)
    if args.out:
        _write(args.out, lines)


def table(lines: Sequence[Line], goal: float, most: int) -> Iterator[str]:
    """Summarise lines by structure; one that never got there counts as ``most`` clicks."""
    after = "  ".join(f"after {count}" for count in _SHOWN)
    yield f"structure  masks  clicks to {goal:g}  never  Dice: {after}"
    for name in dict.fromkeys(line.structure for line in lines):
        mine = [line.reached for line in lines if line.structure == name]
        needed = [clicks_needed(reached, goal) for reached in mine]
        clicks = np.mean([most if count == NEVER else count for count in needed])
        # Who is content clicks no more: the last value stands.
        means = [np.mean([r[min(count, len(r) - 1)] for r in mine]) for count in _SHOWN]
        dice = "  ".join(f"{mean:7.3f}" for mean in means)
        yield f"{name:9}  {len(mine):5}  {clicks:13.2f}  {needed.count(NEVER):5}        {dice}"


def _dataset(loaded: LoadedModel, subset: str, data_root: str | None) -> FilmDataset:
    init_default_scope("echozoo")
    launch.set_data(loaded.cfg, data_root, {})
    loader = loaded.cfg.get(f"{subset}_dataloader")
    if not loader:
        raise ConfigError(f"{loaded.cfg.filename}: it has no {subset}_dataloader")
    return DATASETS.build(
        {**loader["dataset"], "pipeline": [dict(type="LoadClip")], "test_mode": True}
    )


def _clicked(loaded: LoadedModel, dataset: FilmDataset, goal: float, most: int) -> Iterator[Line]:
    seen = set()  # the last clip of a film may share frames with the one before
    for index in track(range(len(dataset)), "clicking"):
        clip = dataset[index]
        embedding = loaded.encode(clip["images"], clip["spacing"])
        for place, frame in enumerate(clip["frames"]):
            if (clip["sequence"], frame) in seen:
                continue
            seen.add((clip["sequence"], frame))
            for number, name in enumerate(loaded.structures):
                reference = clip["labels"][place] == number + 1  # H0, W0
                if not clip["labelled"][place, number] or not reference.any():
                    continue
                one = embedding[place : place + 1]
                reached = correct(loaded, one, name, reference, most, goal)
                yield Line(clip["sequence"], frame, name, reached)


def _write(path: Path, lines: Sequence[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part, part.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("sequence", "frame", "structure", "clicks", "dice"))
        for line in lines:
            for clicks, value in enumerate(line.reached):
                rows.writerow((line.sequence, line.frame, line.structure, clicks, f"{value:.4f}"))
    print(f"{path}: {len(lines)} structures")
