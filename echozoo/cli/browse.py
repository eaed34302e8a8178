"""Show what the network sees: clips after augmentation, with their masks and prompts.

echozoo browse samus_tra --data-root /data/CAMUS --num 6
echozoo browse samus_tra --data-root /data/CAMUS --scale tiny --dataset views=4CH quality=Poor
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope
from PIL import Image

from echozoo.engine import failures, launch
from echozoo.engine.scales import load_scaled
from echozoo.errors import ConfigError, one_line_errors
from echozoo.options import add_data_options, command_parser
from echozoo.registry import DATASETS
from echozoo.visualization.grid import clip_grid
from echozoo.whole_files import written_whole


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("config", help="a file of configs/, or its name")
    add_data_options(parser)
    parser.add_argument(
        "--subset", choices=("train", "val", "test"), help="default: %(default)s", default="train"
    )
    parser.add_argument("--num", type=int, default=4, help="how many clips (default: 4)")
    parser.add_argument("--height", type=int, default=256, help="of a frame (default: 256 pixels)")
    parser.add_argument(
        "-o", "--out", type=Path, default="browse.png", help="picture (default: browse.png)"
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Build the data set, draw clips spread evenly over it, write the picture."""
    args = parse_args()
    if args.num < 1 or args.height < 1:
        raise ConfigError(f"--num {args.num} --height {args.height}: both are 1 or more")
    kind = Image.registered_extensions().get(args.out.suffix.lower())
    if kind not in Image.SAVE:
        raise ConfigError(f"-o {args.out}: no kind of picture, wanted .png or .jpg")
    with failures.one_line():
        cfg = load_scaled(args.config, args.scale)
        init_default_scope(cfg.get("default_scope", "echozoo"))
        launch.set_data(cfg, args.data_root or os.environ.get("CAMUS_ROOT"), args.dataset)
        loader = cfg.get(f"{args.subset}_dataloader")
        if not loader:
            raise ConfigError(f"{args.config}: it has no {args.subset}_dataloader to show")
        dataset = DATASETS.build(loader["dataset"])
        indices = np.linspace(0, len(dataset) - 1, min(args.num, len(dataset))).round().astype(int)
        packed = [dataset[int(index)] for index in indices]
    picture = clip_grid([(one["inputs"], one["data_samples"]) for one in packed], args.height)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(args.out) as part:
        Image.fromarray(picture).save(part, kind)
    print(f"{args.out}: {len(packed)} of {len(dataset)} clips")
