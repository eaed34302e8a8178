"""Test a checkpoint on a config's test set: tables on the screen, as CSV and as JSON.

A run's folder is enough: its own config is taken, at the scale that it was trained at; so are
published weights, or the name of a model that comes with the zoo. A config is Python code, a run's
own too: test only runs that you trust.

echozoo test work_dirs/samus_tra --data-root /data/CAMUS
echozoo test work_dirs/unet_seed0 --average work_dirs/unet_seed1 --data-root /data/CAMUS
echozoo test efficient_unet --data-root /data/CAMUS
echozoo test published/samus_tra-0123abcd.safetensors --data-root /data/CAMUS
echozoo test configs/sam.py checkpoints/sam_vit_b_01ec64.pth --data-root /data/CAMUS
echozoo test configs/stored.py --data-root /data/CAMUS --cfg-options model.folder=MASKS
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

from echozoo import hub, run_folder, weights
from echozoo.engine import failures, launch, training_options
from echozoo.engine.averages import average
from echozoo.engine.distributed import process_group
from echozoo.engine.fitting import check_fit
from echozoo.errors import ConfigError, one_line_errors
from echozoo.options import add_postprocess, add_run_options, command_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "config",
        help="a config, a run's folder or checkpoint, published weights, or a name of the zoo",
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="a checkpoint, published weights, or a run's folder (its best checkpoint, else last); "
        "none, or '', for a model without weights",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="quantise the encoder's linear layers, on the CPU; results go to RUN/int8",
    )
    add_postprocess(parser)
    parser.add_argument(
        "--average",
        nargs="+",
        default=[],
        metavar="RUN",
        help="average its probabilities with those of these runs or published weights; results go "
        "to RUN/average",
    )
    add_run_options(parser)
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Test."""
    args = parse_args()
    with process_group(), failures.one_line():
        settle_config(args)
        if args.work_dir is None and args.checkpoint and Path(args.checkpoint).is_dir():
            inside = "int8" if args.int8 else "average" if args.average else ""
            args.work_dir = str(Path(args.checkpoint, inside))
        cfg = launch.read_config(args)
        cfg.load_from, cfg.resume = None, False
        if args.checkpoint:
            cfg.load_from = run_folder.checkpoint_file(args.checkpoint, best=True)
        if args.postprocess is not None:
            cfg.model.postprocessing = [dict(type=step) for step in args.postprocess]
        launch.forget_pretrained(cfg)  # the checkpoint has all weights
        launch.overlap_clips(cfg)
        launch.collect_results(cfg)
        training_options.leave_trackers(cfg)
        if args.average:
            if args.int8 or not args.checkpoint:
                raise ConfigError("--average: wanted a run or published weights, and no --int8")
            average(cfg, cfg.load_from, args.average)
            cfg.load_from = None  # each member has its own
        if args.int8:
            test_in_int8(cfg, args.amp)
        if cfg.load_from:
            check_fit(cfg)
        with failures.full_disk(Path(cfg.work_dir)):
            runner = launch.build_runner(cfg, args.fast_cpu)
            if not args.checkpoint and any(True for _ in runner.model.parameters()):
                raise ConfigError(
                    f"{args.config}: no checkpoint: give one, or a run's folder, after the config"
                )
            runner.test()


def settle_config(args: argparse.Namespace) -> None:
    """Take the config of what has one: a run, one of its checkpoints, published weights."""
    on_hub = hub.is_on_hub(args.config)
    args.config = str(hub.pull(args.config) if on_hub else weights.find(args.config) or args.config)
    given = Path(args.config)
    if given.is_dir() or given.suffix in (".pth", ".safetensors"):
        args.checkpoint = args.checkpoint or args.config
    if given.is_dir() or given.suffix == ".pth":
        args.config = str(run_folder.find_config(given if given.is_dir() else given.parent))


def test_in_int8(cfg: Config, amp: str | None) -> None:
    """Let the runner quantise the model before it tests."""
    if amp:
        raise ConfigError("--int8 and --amp: choose one of the two")
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or ()), dict(type="Int8Hook")]
