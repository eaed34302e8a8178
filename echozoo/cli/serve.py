"""Serve a page to click on: open a film, click, carry the masks through it, download them.

echozoo serve
echozoo serve work_dirs/samus_tra
echozoo serve configs/samus.py samus.pth --films /data/studies

The page is for this machine alone unless --host says otherwise. Research software: not for
diagnosis. Needs the extra: pip install 'echozoo[serve]'
"""

from __future__ import annotations

import argparse
from pathlib import Path

from echozoo.apis import load_model
from echozoo.errors import ConfigError, one_line_errors
from echozoo.notices import log_to_stderr
from echozoo.options import add_execution_options, command_parser
from echozoo.serve.options import ServeOptions, allowed_hosts
from echozoo.serve.start import check_installed, serve

_MB = 2**20


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "config",
        nargs="?",
        help="a file of configs/, a run's folder, published weights, or a name of the zoo "
        "(default: the model that comes with it)",
    )
    parser.add_argument("checkpoint", nargs="?", help="weights; needed where a config is given")
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: 7860)")
    parser.add_argument(
        "--proxy",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names of proxies in front of it, which pass on their own as Host",
    )
    add_execution_options(parser)
    parser.add_argument("--films", type=Path, help="folder whose films the page offers")
    parser.add_argument("--max-upload-mb", type=int, default=512, help="default: %(default)s")
    parser.add_argument(
        "--max-films", type=int, default=8, help="open at the same time (default: %(default)s)"
    )
    parser.add_argument(
        "--idle-minutes",
        type=float,
        default=30,
        help="until a film that no page shows is closed; its masks are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--no-crop", action="store_true", help="leave films as they are, not cut to their sectors"
    )
    parser.add_argument(
        "--save-dir",
        type=Path,
        help="folder that masks and prompts are kept in after each change (default: this user's "
        "folder of states)",
    )
    parser.add_argument(
        "--spacing", nargs=2, type=float, metavar=("DY", "DX"), help="mm a pixel, of all films"
    )
    return parser.parse_args()


@one_line_errors
def main() -> None:
    """Serve."""
    args = parse_args()
    log_to_stderr()
    check_installed()
    if not 0 <= args.port <= 65535:
        raise ConfigError(f"--port {args.port}: wanted 0 to 65535")
    options = ServeOptions(
        films=args.films and args.films.expanduser(),
        max_upload_bytes=args.max_upload_mb * _MB,
        max_films=args.max_films,
        idle_seconds=60 * args.idle_minutes,
        hosts=allowed_hosts(args.host, args.proxy),
        crop=not args.no_crop,
        spacing=tuple(args.spacing) if args.spacing else None,
        save_dir=args.save_dir and args.save_dir.expanduser(),
    )
    execution = args.device, args.int8, args.amp, args.compile, args.fast_cpu
    loaded = load_model(args.config, args.checkpoint, *execution)
    serve(loaded, options, args.host, args.port)
