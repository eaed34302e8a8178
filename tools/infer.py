#!/usr/bin/env python3
"""Segment films: label maps, tables, curves and overlays, a folder a film.

python tools/infer.py work_dirs/unet study/ -o out
python tools/infer.py configs/samus_tra.py work_dirs/samus_tra film.dcm --prompts clicks.json -o out
python tools/infer.py work_dirs/samus_tra study/ --coarse work_dirs/unet -o out

clicks.json: {"frame": 0, "lv": {"point": [x, y]}, "la": {"box": [x1, y1, x2, y2]}}
for every film, or such an entry for each by its file's name.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from echozoo.apis.execution import add_execution_options
from echozoo.apis.inferencer import EchoInferencer, Inference
from echozoo.engine import failures
from echozoo.errors import ConfigError, one_line_errors

_WEIGHTS = (".pth", ".pt", ".safetensors")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", help="a config, or a run's folder (its best checkpoint, else last)"
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="[CHECKPOINT] INPUT",
        help="a checkpoint or a run's folder first, where CONFIG is a file; then films and folders",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    add_prompt_options(parser)
    parser.add_argument("--batch-size", type=int, default=8, help="frames of a pass (default: 8)")
    add_execution_options(parser)
    parser.add_argument(
        "--postprocess",
        nargs="*",
        metavar="STEP",
        help="LargestComponent, FillHoles, CloseGap, … in place of the config's own steps",
    )
    parser.add_argument(
        "--spacing", nargs=2, type=float, metavar=("DY", "DX"), help="mm a pixel, of all films"
    )
    parser.add_argument("--frame-time", type=float, metavar="MS", help="ms a frame, of all films")
    parser.add_argument("--mp4", action="store_true", help="the overlay as MP4 too, all frames")
    return parser.parse_args()


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add the ways to prompt a model that needs prompts."""
    parser.add_argument(
        "--prompts", type=Path, help="JSON with clicks and boxes, or a label map of a frame"
    )
    parser.add_argument(
        "--coarse",
        nargs="+",
        metavar="RUN",
        help="a run's folder, or config and checkpoint, of a model without prompts to make them",
    )


@one_line_errors
def main() -> int:
    """Segment all films; the status is 1 where one failed."""
    args = parse_args()
    checkpoint, inputs = split_inputs(args.config, args.inputs)
    if args.coarse and len(args.coarse) > 2:
        raise ConfigError(f"--coarse {' '.join(args.coarse)}: wanted RUN, or CONFIG CHECKPOINT")
    with failures.one_line():
        inferencer = EchoInferencer(
            args.config,
            checkpoint,
            device=args.device,
            batch_size=args.batch_size,
            int8=args.int8,
            amp=args.amp,
            compile=args.compile,
            fast_cpu=args.fast_cpu,
            postprocess=args.postprocess and [dict(type=step) for step in args.postprocess],
            prompts=args.prompts or "auto",
            coarse=args.coarse,
            progress=sys.stderr.isatty(),
        )
    spacing = tuple(args.spacing) if args.spacing else None
    done = inferencer(inputs, args.out, spacing, args.frame_time, args.mp4)
    report(done, args.out)
    return 1 if done.failures else 0


def split_inputs(config: str, inputs: list[str]) -> tuple[str | None, list[str]]:
    """Tell a checkpoint, which a config in a file needs first, from the films."""
    first = Path(inputs[0])
    is_run = first.is_dir() and any(first.glob("*.pth"))
    if first.suffix in _WEIGHTS or (is_run and not Path(config).is_dir()):
        if len(inputs) == 1:
            raise ConfigError(f"{first}: a checkpoint and no film; give films or folders after it")
        return inputs[0], inputs[1:]
    return None, inputs


def report(done: Inference, out: Path) -> None:
    """Print a line a film and a study, then what failed."""
    for result in done.results:
        summary, measures = result.summary, result.measures
        line = f"{result.folder}: {summary['frames']} frames"
        if summary["ef_percent"] is not None:
            line += f", EF {summary['ef_percent']:.0f} % ({summary['method']})"
        flagged = len(summary["flagged_frames"])
        line += f", {flagged} flagged" if flagged else ""
        print("; ".join([line, *result.film.notes, *measures.notes]))
    for path, study in done.studies.items():
        print(
            f"{path}: EF {study['ef_percent']:.0f} % ({study['method']}), EDV"
            f" {study['edv_ml']:.0f} ml, ESV {study['esv_ml']:.0f} ml"
        )
    total = len(done.results) + len(done.failures)
    print(f"{len(done.results)} of {total} films segmented into {out}")
    if done.failures:
        print(f"{len(done.failures)} failed:")
        for name, reason in done.failures:
            print(f"  {name}: {reason}")


if __name__ == "__main__":
    main()
