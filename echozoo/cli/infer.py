"""Segment films: label maps, tables, curves and overlays, a folder a film.

echozoo infer study/ -o out
echozoo infer -m lite_medsam_auto film.dcm -o out
echozoo infer work_dirs/unet study/ -o out
echozoo infer work_dirs/unet_seed0 work_dirs/unet_seed1 study/ -o out
echozoo infer configs/samus_tra.py work_dirs/samus_tra film.dcm --prompts clicks.json -o out
echozoo infer work_dirs/samus_tra study/ --coarse work_dirs/unet -o out
tools/dist_infer.sh 8 archive/ -o out        # 8 processes, one a GPU

Several runs are averaged. Without a model, the one that comes with the zoo segments the films (see
echozoo/weights).

clicks.json: {"frame": 0, "lv": {"point": [x, y]}, "la": {"box": [x1, y1, x2, y2]}}
for every film, or such an entry for each by its file's name. A list of these, as the page writes
it, prompts several frames.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from echozoo import hub, weights
from echozoo.apis.inferencer import EchoInferencer
from echozoo.apis.outcomes import Inference
from echozoo.engine import failures
from echozoo.engine.distributed import join_processes, launched_rank, own_device, process_group
from echozoo.errors import ConfigError, one_line, one_line_errors
from echozoo.notices import log_to_stderr
from echozoo.options import add_execution_options, add_launcher, add_postprocess, command_parser
from echozoo.run_folder import find_checkpoint
from echozoo.studies.names import VIEWS
from echozoo.studies.page import PAGE_FILE

_WEIGHTS = (".pth", ".pt", ".safetensors")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "words",
        nargs="+",
        metavar="[MODEL [CHECKPOINT]] INPUT",
        help="a config and its checkpoint or run; or a run's folder (its best checkpoint, else the "
        "last), or published weights, or a name of the zoo; several of these are averaged; or "
        "nothing; then films and folders",
    )
    parser.add_argument(
        *("-m", "--model"),
        action="append",
        metavar="MODEL",
        help="the same, apart from the films: a run's folder, published weights, a name of the "
        "zoo or hub:USER/NAME; given again, several are averaged",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    add_prompt_options(parser)
    parser.add_argument("--batch-size", type=int, default=8, help="frames of a pass (default: 8)")
    add_execution_options(parser)
    add_postprocess(parser)
    parser.add_argument(
        "--spacing", nargs=2, type=float, metavar=("DY", "DX"), help="mm a pixel, of all films"
    )
    parser.add_argument("--frame-time", type=float, metavar="MS", help="ms a frame, of all films")
    parser.add_argument(
        "--no-crop",
        action="store_true",
        help="show the model films as they are, not cut to their ultrasound sectors",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="segment what is no B-mode film too: colour Doppler, M-mode, spectra, …",
    )
    parser.add_argument(
        "--view", choices=VIEWS, help="of all films, in place of what they say and look like"
    )
    parser.add_argument(
        "--dicom-seg", action="store_true", help="masks of DICOM films as DICOM segmentations too"
    )
    parser.add_argument(
        "--dicom-sr", action="store_true", help="volumes and EF of exams as DICOM reports too"
    )
    parser.add_argument(
        "--tta", choices=("flip",), help="average with what the model sees in the mirrored film"
    )
    parser.add_argument(
        "--as-camus",
        action="store_true",
        help="exams in CAMUS's layout too, in OUT/camus: to be measured, or trained on",
    )
    parser.add_argument(
        "--anonymous", action="store_true", help="names of results that say nothing of a patient"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that share the films"
    )
    add_launcher(
        parser, "what has started several processes to share the films; see tools/dist_infer.sh"
    )
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
    log_to_stderr()
    with process_group():
        return segment(args)


def segment(args: argparse.Namespace) -> int:
    """Segment the films of a command line, or this process's share of them."""
    model, inputs = (args.model, args.words) if args.model else split_words(args.words)
    if args.coarse and len(args.coarse) > 2:
        raise ConfigError(f"--coarse {' '.join(args.coarse)}: wanted RUN, or CONFIG CHECKPOINT")
    with failures.one_line():
        if args.launcher != "none":
            join_processes(args.launcher)
            args.device = args.device or own_device()
        several = len(model) > 1 and (args.model or not model[0].endswith(".py"))
        inferencer = EchoInferencer(
            *([model] if several else model),
            flip=args.tta == "flip",
            device=args.device,
            batch_size=args.batch_size,
            int8=args.int8,
            amp=args.amp,
            compile=args.compile,
            fast_cpu=args.fast_cpu,
            postprocess=args.postprocess and [dict(type=step) for step in args.postprocess],
            prompts=args.prompts or "auto",
            coarse=args.coarse,
            progress=sys.stderr.isatty() and launched_rank() == 0,
            crop=not args.no_crop,
            force=args.force,
            view=args.view,
        )
    first = launched_rank() == 0
    if not model and first:
        print(f"with {weights.DEFAULT}, which comes with the zoo", file=sys.stderr)
    spacing = tuple(args.spacing) if args.spacing else None
    try:
        done = inferencer(
            *(inputs, args.out, spacing, args.frame_time, args.mp4),
            workers=args.workers,
            dicom_seg=args.dicom_seg,
            dicom_sr=args.dicom_sr,
            as_camus=args.as_camus,
            anonymous=args.anonymous,
        )
    except KeyboardInterrupt:
        print(f"interrupted; the same command again keeps the films of {args.out} that are done")
        return 130
    if first:
        report(done, args.out)
    return 1 if done.failures else 0


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Tell the models, words or a config and its checkpoint, or none, from the films."""
    if words[0].endswith(".py"):
        count = 1 + (len(words) > 1 and (words[1].endswith(_WEIGHTS) or is_run(words[1])))
    else:
        count = next((i for i, word in enumerate(words) if not is_model(word)), len(words))
    last = Path(words[-1])
    if count == len(words) and last.is_dir() and not find_checkpoint(last, best=True):
        count -= 1  # a folder of films, with somebody's script among them
    if count == len(words):
        raise ConfigError(f"{words[-1]}: a model and no film; give films or folders after it")
    return words[:count], words[count:]


def is_model(word: str) -> bool:
    """Whether a word is a config, published weights, a run's folder or a name of the zoo."""
    named = hub.is_on_hub(word) or (not Path(word).exists() and weights.find(word) is not None)
    return word.endswith((".py", ".safetensors")) or is_run(word) or named


def is_run(word: str) -> bool:
    """Whether a word is a folder with checkpoints or a config, be they all that a run has left."""
    return Path(word).is_dir() and any(p.suffix in (".pth", ".py") for p in Path(word).iterdir())


def report(done: Inference, out: Path) -> None:
    """Print a line a film and a study, what was left out and why, then what failed."""
    for result in done.results:
        summary = result.summary
        line = f"{one_line(result.folder)}: {summary['frames']} frames"
        if summary["ef_percent"] is not None:
            line += f", EF {summary['ef_percent']:.0f} % ({summary['method']})"
        flagged = len(summary["flagged_frames"])
        line += f", {flagged} flagged" if flagged else ""
        line += ", kept of an earlier run" if result.kept else ""
        print("; ".join([line, *summary["notes"]]))
    for path, study in done.studies.items():
        line = f"{one_line(path)}: EF {study['ef_percent']:.0f} % ({study['method']})"
        if study["edv_ml"] is not None:
            line += f", EDV {study['edv_ml']:.0f} ml, ESV {study['esv_ml']:.0f} ml"
        print(line)
    for folder in done.left_out.results:
        print(f"note: {one_line(folder)} holds results of an earlier run and is left out")
    left_out = [*done.no_films, *done.left_out.files]
    total = len(done.results) + len(left_out) + len(done.failures) + done.untried
    print(f"{len(done.results)} of {total} files segmented into {out}: see {PAGE_FILE}")
    for what, files in (("left out", left_out), ("failed", done.failures)):
        if files:
            print(f"{len(files)} {what}:")
        for name, reason in files:
            print(f"  {one_line(name)}: {one_line(reason)}")
    if done.untried:
        print(f"{done.untried} left: make room there, then run the same command again")
