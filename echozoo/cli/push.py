"""Put a published model on the Hugging Face Hub, its card as its page.

echozoo publish work_dirs/samus_tra -o published/samus_tra
echozoo push published/samus_tra USER/samus_tra

Log in before, with `hf auth login`. Needs the extra: pip install 'echozoo[hub]'
"""

from __future__ import annotations

import argparse
from pathlib import Path

from echozoo import hub
from echozoo.errors import ConfigError, one_line_errors
from echozoo.export.weights_file import verify
from echozoo.options import command_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("folder", type=Path, help="what echozoo publish has written")
    parser.add_argument("name", metavar="USER/NAME", help="where to; made where it does not exist")
    parser.add_argument(
        "--private", action="store_true", help="let nobody else see it, where it is made"
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Check the weights, then push them."""
    args = parse_args()
    found = sorted(args.folder.glob("*.safetensors"))
    if len(found) != 1:
        there = ", ".join(file.name for file in found) or "none"
        raise ConfigError(f"{args.folder}: found {there}, wanted one published .safetensors file")
    verify(found[0])
    print(hub.push(found[0], args.name, args.private))
