"""Train what a config describes. A config is Python code: run only those that you trust.

echozoo train configs/samus_tra.py --data-root /data/CAMUS
echozoo train configs/samus_tra.py --data-root /data/CAMUS --resume
echozoo train configs/autosamus.py --no-augmentation --cache-features
echozoo train configs/samus_tra.py --scale tiny --print-config
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from echozoo import run_folder
from echozoo.engine import failures, launch, training_options
from echozoo.engine.distributed import launched_rank, process_group
from echozoo.engine.fitting import check_fit
from echozoo.engine.lock import claimed
from echozoo.errors import CheckpointError, ConfigError, one_line_errors
from echozoo.options import add_run_options, command_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("config", help="a file of configs/; it is code, and runs")
    add_run_options(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="CHECKPOINT",
        help="go on from a checkpoint or a run's folder (default: the work dir's last checkpoint "
        "that is whole)",
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="start without the config's pretrained weights"
    )
    parser.add_argument(
        "--no-augmentation",
        action="store_true",
        help="train on the images as they are, without the config's random transforms",
    )
    parser.add_argument(
        "--cache-features",
        nargs="?",
        const="",
        metavar="DIR",
        help="where the encoder is frozen, run it once an image and keep its features on disk "
        "(default: features/ beside the decoded volumes); wants --no-augmentation",
    )
    parser.add_argument(
        "--cache-gb",
        type=float,
        default=50.0,
        metavar="GB",
        help="what the folder of --cache-features may hold (default: %(default)g)",
    )
    parser.add_argument(
        "--log-to",
        choices=training_options.TRACKERS,
        help="send curves and pictures there too; needs the extra: pip install 'echozoo[log]'",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile the backbone: slow to start",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the config with all options applied, as one file without _base_; nothing runs",
    )
    return parser.parse_args()


def set_resume(cfg: Config, checkpoint: str) -> None:
    """Let the run go on from a checkpoint; "" is the last of its own folder, where there is one."""
    damaged: list[str] = []
    if checkpoint and not Path(checkpoint).expanduser().is_dir():
        found: Path | None = Path(run_folder.checkpoint_file(checkpoint, best=False))
    else:
        folder = Path(checkpoint or cfg.work_dir).expanduser()
        found, damaged = run_folder.find_whole_checkpoint(folder)
        if checkpoint and not found:
            raise CheckpointError("; ".join(damaged) or f"{folder}: no checkpoint in this folder")
    if launched_rank() == 0:
        print(*damaged, sep="\n", end="\n" if damaged else "")
        print(f"resuming from {found}" if found else f"{cfg.work_dir}: no checkpoint, a new run")
    if found:
        cfg.load_from, cfg.resume = str(found), True
        check_fit(cfg)


@contextlib.contextmanager
def sole_training(folder: Path) -> Iterator[None]:
    """Let no other training into a run's folder; of several processes the first holds the lock."""
    if launched_rank() > 0:
        yield
        return
    refusal = f"{folder}: another training works in this folder; let it end, or choose --work-dir"
    with claimed(folder / ".training", refusal):
        yield


def refuse_mixture(cfg: Config) -> None:
    """Refuse to add to the checkpoints of a training those of another one."""
    there = run_folder.find_whole_checkpoint(cfg.work_dir)[0]
    begun = Path(cfg.load_from).resolve().parent if cfg.get("resume") else None
    if there and begun != Path(cfg.work_dir).resolve():
        raise ConfigError(
            f"{cfg.work_dir}: holds {there.name} of an earlier training: go on with --resume, "
            "choose another --work-dir, or remove the folder to begin anew"
        )


@one_line_errors
def main() -> None:
    """Train."""
    args = parse_args()
    with process_group(), failures.one_line():
        cfg = launch.read_config(args, needs_data=not args.print_config)
        if args.from_scratch:
            launch.forget_pretrained(cfg)
        if args.no_augmentation:
            left_out = training_options.drop_augmentation(cfg)
            if left_out and launched_rank() == 0:
                print(f"--no-augmentation: training without {', '.join(left_out)}")
        if args.cache_features is not None:
            training_options.cache_features(cfg, args.cache_features or None, args.cache_gb)
        if args.log_to:
            training_options.log_to(cfg, args.log_to)
        if args.compile:
            cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), dict(type="CompileHook")]
        if args.print_config:
            print(cfg.pretty_text)
            return
        folder = Path(cfg.work_dir)
        with failures.full_disk(folder), sole_training(folder):
            if args.resume is not None:
                set_resume(cfg, args.resume)
            if launched_rank() == 0:
                refuse_mixture(cfg)
            launch.build_runner(cfg, args.fast_cpu).train()
