"""Options that several commands have: one name a thing, with one meaning."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction


class KeyValue(DictAction):
    """Collect ``KEY=VALUE`` arguments in a dict; mmengine's, with a message for a missing ``=``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the values to the namespace's dict."""
        for value in values or ():
            if "=" not in value:
                parser.error(f"{option_string}: {value!r} is not of the form KEY=VALUE")
        try:
            super().__call__(parser, namespace, values, option_string)
        except RecursionError:
            parser.error(
                f"{option_string}: {' '.join(values)!r}: a dict inside a list cannot be given "
                "here; write a config with _base_ instead"
            )


def command_parser(text: str) -> argparse.ArgumentParser:
    """The parser of a command whose help begins with a text, laid out as it is."""
    return argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_pairs(parser: argparse.ArgumentParser, flag: str, meaning: str) -> None:
    """Add an option that takes KEY=VALUE several times."""
    parser.add_argument(
        flag, nargs="+", action=KeyValue, default={}, metavar="KEY=VALUE", help=meaning
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing have in common; ``config`` is positional."""
    add_data_options(parser)
    add_pairs(parser, "--cfg-options", "set any key of the config: train_cfg.max_epochs=20")
    parser.add_argument("--work-dir", help="where results go (default: work_dirs/CONFIG[_SCALE])")
    add_amp(parser)
    parser.add_argument("--seed", type=int, help="seed of all random numbers")
    add_fast_cpu(parser)
    add_launcher(parser, "set by dist_train.sh, dist_test.sh and slurm_train.sh")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which data a config is for, and at which size it runs."""
    parser.add_argument(
        "--scale", metavar="NAME", help="a size that the config declares, such as tiny"
    )
    parser.add_argument("--data-root", help="the data set's folder (or environment CAMUS_ROOT)")
    meaning = "set keys of the train, val and test data sets at once: split=ratio frames=ed_es"
    add_pairs(parser, "--dataset", meaning)


def add_execution_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that run a trained model: device, precision, compilation."""
    parser.add_argument("--device", help="cpu, cuda, … (default: a GPU where there is one)")
    add_amp(parser)
    parser.add_argument(
        "--int8", action="store_true", help="quantise the encoder's linear layers, on the CPU"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile: slow to start")
    add_fast_cpu(parser)


def add_amp(parser: argparse.ArgumentParser) -> None:
    """Let the precision be mixed."""
    parser.add_argument(
        "--amp",
        nargs="?",
        const="bf16",
        choices=("bf16", "fp16"),
        help="mixed precision (default: bf16, on the CPU too)",
    )


def add_fast_cpu(parser: argparse.ArgumentParser) -> None:
    """Let torch compute all layers."""
    parser.add_argument(
        "--no-fast-cpu",
        dest="fast_cpu",
        action="store_false",
        help="leave layers on a CPU as torch computes them",
    )


def add_launcher(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Let several processes be told what has started them."""
    parser.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm"), default="none", help=meaning
    )


def add_postprocess(parser: argparse.ArgumentParser) -> None:
    """Let post-processing be other than the config's."""
    parser.add_argument(
        "--postprocess",
        nargs="*",
        metavar="STEP",
        help="LargestComponent, FillHoles, WhittakerSmoother, … in place of the config's own steps",
    )


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """Let the data folder be given by its place, or as ``--data-root`` as everywhere.

    Args:
        parser: Gets ``root``, None where neither is given.
    """
    parser.add_argument(
        "root", nargs="?", default=argparse.SUPPRESS, help="data folder; without it, CAMUS_ROOT"
    )
    parser.add_argument("--data-root", dest="root", metavar="ROOT", help="the same")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Let the number of processes be chosen: all cores where it is not."""
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: all cores)",
    )
