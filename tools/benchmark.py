#!/usr/bin/env python3
"""Measure speed and memory: forward pass, training step, data, measures of a test.

    python tools/benchmark.py forward --against DIR --batch 1 8 -o out
    python tools/benchmark.py forward --config configs/sam.py --against segment-anything
    python tools/benchmark.py forward --config configs/samus_tra.py --frames 1 4 8 16
    python tools/benchmark.py forward train --against DIR --amp bf16 --compile
    python tools/benchmark.py data metrics --data-root /data/CAMUS

DIR is a checkout of the published SAMUS (https://github.com/xianlin7/SAMUS). Both sides get the
same weights and inputs and are timed by turns; exit status 1 where their float32 outputs differ.
Without --against, the variants are compared with plain float32. Memory is measured in a process of
its own for each side. The measures (metrics) are compared with MONAI, an epoch over cached data
with one that decodes the files.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from echozoo.benchmark.data import compare_data
from echozoo.benchmark.label_maps import data_samples, generated_samples
from echozoo.benchmark.measures import compare_measures
from echozoo.benchmark.networks import Plan, compare_networks
from echozoo.benchmark.reference import SEGMENT_ANYTHING
from echozoo.benchmark.report import machine, print_results, write_results
from echozoo.benchmark.results import Result
from echozoo.benchmark.setting import Setting, Shape, Variant
from echozoo.engine import failures, launch
from echozoo.engine.config_file import load_config
from echozoo.engine.scales import apply_scale
from echozoo.errors import ConfigError, one_line_errors

PARTS = ("forward", "train", "data", "metrics")
SAMUS = Path(__file__).resolve().parents[1] / "configs" / "samus.py"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=PARTS, help="what to measure")
    parser.add_argument("--config", default=SAMUS, help="a file of configs/ (default: samus.py)")
    parser.add_argument("--scale", metavar="NAME", help="a size that the config declares")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=launch.KeyValue,
        default={},
        metavar="KEY=VALUE",
        help="set any key of the config",
    )
    add_network_options(parser.add_argument_group("forward and train"))
    data = parser.add_argument_group("data and metrics")
    data.add_argument("--data-root", help="the data set's folder (or environment CAMUS_ROOT)")
    data.add_argument(
        "--dataset",
        nargs="+",
        action=launch.KeyValue,
        default={},
        metavar="KEY=VALUE",
        help="set keys of the data sets",
    )
    data.add_argument(
        "--workers", type=int, default=0, help="processes that load (default: this one loads)"
    )
    data.add_argument(
        "--patients",
        type=int,
        default=50,
        help="of which metrics measures label maps, generated where there is no data (default: 50)",
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count (default: 5)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before these (default: 1)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own number)")
    parser.add_argument("-o", "--out", type=Path, help="folder of benchmark.json and benchmark.md")
    return parser.parse_args()


def add_network_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of forward pass and training step."""
    group.add_argument(
        "--against",
        metavar="DIR",
        help=f"a checkout of the published SAMUS, or {SEGMENT_ANYTHING} (SAM's encoder)",
    )
    group.add_argument("--encoder", action="store_true", help="forward: the image encoder alone")
    group.add_argument("--batch", nargs="+", type=int, default=[1], help="clips (default: 1)")
    group.add_argument("--frames", nargs="+", type=int, default=[1], help="of a clip (default: 1)")
    group.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16",), help="in mixed precision too"
    )
    group.add_argument("--compile", action="store_true", help="compiled too; with --amp in both")
    group.add_argument("--int8", action="store_true", help="forward: quantised too, on the CPU")
    group.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    group.add_argument("--device", help="cpu, cuda ... (default: a GPU where there is one)")


def read_config(args: argparse.Namespace) -> Config:
    """Load the config with its options; data are not asked for."""
    cfg = load_config(args.config)
    apply_scale(cfg, args.scale)
    launch.set_data(cfg, args.data_root, args.dataset)
    launch.set_options(cfg, args.cfg_options)
    return cfg


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers and combinations that cannot be."""
    ones = ("repeats", "patients", "threads")
    least = [(f"--{name}", getattr(args, name), 1) for name in ones]
    least += [("--batch", min(args.batch), 1), ("--frames", min(args.frames), 1)]
    least += [("--warmup", args.warmup, 0), ("--workers", args.workers, 0)]
    for option, value, smallest in least:
        if value is not None and value < smallest:
            raise ConfigError(f"{option} {value}: wanted {smallest} or more")
    try:
        torch.empty(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {args.device}: {str(error).splitlines()[0]}") from error
    if args.int8 and "train" in args.parts:
        raise ConfigError("--int8 is for inference: measure train without it")
    if "data" in args.parts and not args.data_root:
        raise ConfigError(
            "data: no data: give --data-root FOLDER or set CAMUS_ROOT "
            "(generated data: tools/make_phantom.py FOLDER)"
        )


def measure_network(args: argparse.Namespace, cfg: Config, part: str) -> Result:
    """Measure a forward pass or a training step."""
    setting = Setting(
        cfg=cfg,
        part=part,
        against=args.against,
        encoder_only=args.encoder or (part == "forward" and args.against == SEGMENT_ANYTHING),
        device=args.device,
        threads=args.threads,
    )
    variants = [Variant(bf16=True)] if args.amp else []
    variants += [Variant(compiled=True)] if args.compile else []
    variants += [Variant(bf16=True, compiled=True)] if args.amp and args.compile else []
    variants += [Variant(int8=True)] if args.int8 else []
    shapes = [Shape(*sizes) for sizes in product(args.batch, args.frames)]
    plan = Plan(shapes, variants, args.repeats, args.warmup, memory=not args.no_memory)
    return compare_networks(setting, plan)


def measure_metrics(args: argparse.Namespace, cfg: Config) -> Result:
    """Measure the measures on label maps of the test part, or on generated ones."""
    if args.data_root:
        samples = data_samples(cfg.test_dataloader.dataset, args.patients)
    else:
        samples = generated_samples(args.patients)
    origin = "real" if args.data_root else "generated"
    return compare_measures(list(samples), args.repeats, args.warmup, origin)


def measure(args: argparse.Namespace) -> Iterator[Result]:
    """Measure the parts in the order in which they were named."""
    cfg = read_config(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    init_default_scope(cfg.get("default_scope", "echozoo"))
    for part in dict.fromkeys(args.parts):
        if part == "data":
            yield compare_data(cfg, args.repeats, args.warmup, args.workers)
        elif part == "metrics":
            yield measure_metrics(args, cfg)
        else:
            yield measure_network(args, cfg, part)


@one_line_errors
def main() -> int:
    """Measure; the status is 1 where sides that should agree do not."""
    args = parse_args()
    args.data_root = args.data_root or os.environ.get("CAMUS_ROOT")
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_numbers(args)
    results = []
    with failures.one_line():
        for result in measure(args):
            print_results([result])
            results.append(result)
    if args.out:
        settings = {
            "config": Path(args.config).stem,
            "scale": args.scale,
            "machine": machine(args.device),
        }
        command = ["python", "tools/benchmark.py", *sys.argv[1:]]
        for file in write_results(args.out, results, settings, command):
            print(f"written: {file}")
    wrong = [result.disagreement for result in results if result.disagreement]
    for line in wrong:
        print(f"not equal: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
