"""How the rows of forward pass and training step are shown, and what is said below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from echozoo.benchmark.results import Column, number, span, text
from echozoo.benchmark.setting import Setting

COLUMNS = (
    Column("side", text("side")),
    Column("batch", text("batch")),
    Column("T", text("frames")),
    Column("median\nms", number("median_s", ".1f", 1e3)),
    Column("middle half\nms", span("quartiles_s", ".1f", 1e3)),
    Column("ms/image", number("median_s_per_image", ".1f", 1e3)),
    Column("speed-up", number("speedup", ".2f")),
    Column("its range", span("speedup_range", ".2f")),
    Column("peak\nMB", number("peak_bytes", ".0f", 1e-6)),
    Column("at rest\nMB", number("at_rest_bytes", ".0f", 1e-6)),
    Column("memory\nratio", number("memory_ratio", ".2f")),
    Column("GFLOP", number("flops", ".1f", 1e-9)),
    Column("share\nof peak", number("share_of_peak", ".0%")),
    Column("difference", number("difference", ".0e")),
    Column("masks\nagree", number("masks_agree", ".2%")),
)


def title_of(setting: Setting) -> str:
    """Say what is run.

    Args:
        setting: Its part, and where its forward pass ends.
    """
    if setting.part == "train":
        return "training step: forward, loss, backward, optimiser; one click a structure"
    if setting.encoder_only:
        return "forward: image encoder alone"
    return "forward: encoder, prompts, decoder; one click a structure"


def notes_of(setting: Setting, repeats: int, warmup: int, memory: bool, first: str) -> list[str]:
    """Say how the numbers were made.

    Args:
        setting: What was run.
        repeats: Rounds that count.
        warmup: Rounds that do not.
        memory: Whether memory was measured.
        first: The side that speed and memory are compared with.
    """
    notes = [
        f"rounds by turns: {repeats}, after {warmup} that do not count; speed-up and memory ratio: "
        f"against {first} at the same batch; the speed-up's range is over the rounds"
    ]
    if memory:
        on_gpu = torch.device(setting.device).type == "cuda"
        notes.append(
            f"peak: memory {'allocated on the GPU' if on_gpu else 'resident'} during the second "
            "run in a fresh process, above what was there after imports, weights included; at "
            "rest: before the runs"
        )
    notes.append(
        "GFLOP: matrix products, convolutions, attention, counted on plain networks; share of "
        "peak: of the fastest product of large matrices of that type, here and now"
    )
    if setting.part == "forward":
        notes.append("difference: the largest between the outputs, over the largest value")
    else:
        notes.append("difference: relative, of the first losses and of the first gradient's norm")
        kind = setting.cfg.optim_wrapper.optimizer.type
        adam = "; of the published code: Adam" if setting.against else ""
        notes.append(f"optimiser: {kind}{adam}")
    return notes


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Compare shapes: what a frame costs in longer clips, and each side at its best batch.

    Args:
        rows: Of all shapes and sides.
    """
    return [*_cost_of_frames(rows), *_best_batches(rows)]


def _cost_of_frames(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for side, batch in dict.fromkeys((row["side"], row["batch"]) for row in rows):
        own = [row for row in rows if (row["side"], row["batch"]) == (side, batch)]
        if len(own) > 1:
            base = min(own, key=lambda row: row["frames"])["median_s_per_image"]
            costs = [
                f"{row['median_s_per_image'] / base:.2f} at T = {row['frames']}" for row in own
            ]
            lines.append(f"cost of a frame, {side}, batch {batch}: {', '.join(costs)}")
    return lines


def _best_batches(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    sides = dict.fromkeys(row["side"] for row in rows)
    if len(rows) == len(sides):
        return []
    best = [
        min(
            (row for row in rows if row["side"] == side),
            key=lambda row: row["median_s_per_image"],
        )
        for side in sides
    ]
    base = best[0]["median_s_per_image"]
    return [
        f"{row['side']} at its best: {1e3 * row['median_s_per_image']:.1f} ms/image (batch "
        f"{row['batch']}, T = {row['frames']}), speed-up {base / row['median_s_per_image']:.2f}"
        for row in best
    ]
