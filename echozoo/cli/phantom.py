"""Write generated patients (simulated ultrasound of beating hearts) in the layout of a data set."""

from __future__ import annotations

import argparse

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from echozoo.errors import one_line_errors
from echozoo.options import add_workers
from echozoo.phantom import PhantomOptions, write_phantom
from echozoo.phantom.artefacts import QUALITIES
from echozoo.phantom.writing import LAYOUTS


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="folder to fill; run again, it only writes what is missing")
    parser.add_argument("--patients", type=int, default=20, help="3 or more (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same data (default: 0)")
    parser.add_argument(
        "--spacing",
        type=float,
        default=0.6,
        help="side of a pixel in mm (default: 0.6; CAMUS 0.308)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        nargs=2,
        default=(10, 24),
        metavar=("LOW", "HIGH"),
        help="least and greatest length of a film (default: 10 24)",
    )
    parser.add_argument(
        "--quality",
        choices=QUALITIES,
        help="of all films (default: as often as CAMUS has each)",
    )
    parser.add_argument(
        "--flicker",
        action="store_true",
        help="dropouts and shadows come and go frame by frame, so that neighbours complete a frame",
    )
    parser.add_argument(
        "--layout",
        choices=tuple(LAYOUTS),
        default="camus",
        help="of the files (default: camus); EchoNet-Dynamic's and HMC-QU's films may not be passed"
        " on, but their loading can be tried",
    )
    add_workers(parser)
    parser.add_argument("--force", action="store_true", help="replace another phantom in OUT")
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Generate a phantom."""
    args = parse_args()
    options = PhantomOptions(
        *(args.patients, args.seed, args.spacing, tuple(args.frames), args.quality, args.flicker),
        layout=args.layout,
    )
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("patients", total=None)
        written = write_phantom(
            args.out,
            options,
            processes=args.workers,
            force=args.force,
            on_patient=lambda done, total: progress.update(task, completed=done, total=total),
        )
    there = options.patients - written
    print(f"{args.out}: {written} patients written" + (f", {there} were there" if there else ""))
