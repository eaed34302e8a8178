"""Publish a trained model: safe weights with their story inside, config, model card.

echozoo publish work_dirs/samus_tra -o published/samus_tra
echozoo publish best.pth --config configs/samus_tra.py -o published/samus_tra
echozoo publish --verify published/samus_tra/samus_tra-0123abcd.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from echozoo import run_folder
from echozoo.apis import load_model
from echozoo.errors import ConfigError, one_line_errors
from echozoo.export.publish import publish
from echozoo.export.weights_file import verify
from echozoo.models.weight_files import file_sha256
from echozoo.options import command_parser

SHOWN = ("name", "echozoo_version", "date", "training_data", "licence", "weights_sha256")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("run", nargs="?", help="a run's folder (its best checkpoint) or a file")
    parser.add_argument("--config", help="the model's config (default: the run's own)")
    parser.add_argument("-o", "--out", help="folder for the files")
    parser.add_argument("--results", help="results.json of its test (default: the run's own)")
    parser.add_argument("--training-data", help="what it was trained on, where that is not known")
    parser.add_argument("--licence", help="of the weights, where that is not known")
    parser.add_argument("--half", action="store_true", help="in half precision")
    parser.add_argument("--verify", metavar="FILE", help="only check a published file")
    args = parser.parse_args()
    if not args.verify and not (args.run and args.out):
        parser.error("give a run and -o FOLDER, or --verify FILE")
    return args


def show_verified(path: str) -> None:
    """Check a file and print what it says of itself."""
    metadata = verify(path)
    print(f"{path}: unchanged since it was published")
    for key in SHOWN:
        text = metadata.get(key, "")[:200]
        # The file's author chose these letters: none of them may steer the terminal.
        print(f"{key}: {''.join(c if c.isprintable() else '?' for c in text)}")
    print(f"sha256 of the file: {file_sha256(path)}")


@one_line_errors
def main() -> None:
    """Publish or verify."""
    args = parse_args()
    if args.verify:
        return show_verified(args.verify)
    checkpoint = Path(run_folder.checkpoint_file(args.run, best=True))
    folder = checkpoint.parent
    # Only a run's folder: a config runs as Python, and any folder may hold scripts.
    if not args.config and not (Path(args.run).is_dir() or (folder / "last_checkpoint").is_file()):
        raise ConfigError(f"{folder}: is no run's folder; name the model's config with --config")
    loaded = load_model(args.config or folder, checkpoint, device="cpu")
    done = publish(loaded, args.out, args.results, args.training_data, args.licence, args.half)
    for note in done.notes:
        print(note)
    print(f"weights of {loaded.checkpoint}: {done.weights.stat().st_size / 1e6:.1f} MB")
    for file in (done.weights, done.config, done.card):
        print(file)
    return None
