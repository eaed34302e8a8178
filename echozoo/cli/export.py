"""Write a trained model as ONNX and compare it with torch: numbers, size, speed.

echozoo export work_dirs/samus_tra -o onnx/
echozoo export configs/samus.py samus.pth -o onnx/

A model with prompts becomes encoder.onnx (images to embedding) and decoder.onnx (embedding, points,
labels to logits and masks), any other model.onnx. Needs the extra: pip install 'echozoo[export]'
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table

from echozoo.apis import load_model
from echozoo.errors import one_line_errors
from echozoo.export.onnx import check_installed, export_onnx
from echozoo.export.onnx_check import Comparison
from echozoo.options import command_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("config", help="a config, or a run's folder (its config, best checkpoint)")
    parser.add_argument(
        "checkpoint", nargs="?", help="weights (default: the run's or the config's)"
    )
    parser.add_argument("-o", "--out", required=True, help="folder for the files")
    return parser.parse_args()


def table(compared: list[Comparison]) -> Table:
    """Lay out how the files compare with torch."""
    rows = Table(title="onnxruntime against torch", title_justify="left")
    rows.add_column("file", no_wrap=True)
    for title in (
        "MB",
        "max\nerror",
        "masks\nchanged",
        "torch\nms/frame",
        "ORT\nms/frame",
        "ratio",
    ):
        rows.add_column(title, justify="right")
    for one in compared:
        rows.add_row(
            one.file_name,
            f"{one.megabytes:.1f}",
            f"{one.max_error:.1e}",
            f"{one.mask_changes:.1%}",
            f"{one.torch_ms:.2f}",
            f"{one.onnx_ms:.2f}",
            f"{one.onnx_ms / one.torch_ms:.2f}",
        )
    return rows


@one_line_errors
def main() -> None:
    """Export."""
    args = parse_args()
    check_installed()
    loaded = load_model(args.config, args.checkpoint, device="cpu")
    compared = export_onnx(loaded, args.out)
    Console().print(table(compared))
    threads = torch.get_num_threads()
    print("error: largest difference over largest value; a decoder draws two structures a frame")
    print(f"masks: pixels that changed; ORT: onnxruntime; times: this CPU, {threads} thread(s)")
    print(f"written to {args.out}")
