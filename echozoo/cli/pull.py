"""Get a published model from the Hugging Face Hub, and check that it is whole.

echozoo pull USER/samus_tra -o published
echozoo infer published/samus_tra-0123abcd.safetensors film.dcm -o out
echozoo infer -m hub:USER/samus_tra film.dcm -o out      # the same in one

Needs the extra: pip install 'echozoo[hub]'
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from echozoo import hub
from echozoo.errors import StorageError, one_line_errors
from echozoo.export.weights_file import verify
from echozoo.options import command_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("name", metavar="USER/NAME[@REVISION]", help="a repository of echozoo push")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("checkpoints"), help="folder (default: checkpoints)"
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Pull, check, copy."""
    args = parse_args()
    weights = hub.pull(args.name)
    verify(weights)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        print(shutil.copy(weights, args.out))
    except OSError as error:
        raise StorageError.of(args.out, error) from error
