"""Forward pass and training step: the config's network and its variants beside a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echozoo.benchmark.flops import count_flops, matmul_peak
from echozoo.benchmark.network_report import COLUMNS, notes_of, summary, title_of
from echozoo.benchmark.ours import trainable
from echozoo.benchmark.reference import find_reference
from echozoo.benchmark.results import Result
from echozoo.benchmark.setting import Setting, Shape, Variant
from echozoo.benchmark.sides import Side, make_side, side_memory
from echozoo.benchmark.timing import alternate, row_of
from echozoo.errors import ConfigError

TOLERANCE = 1e-4
"""Largest relative difference of float32 outputs that passes for equal."""
PLAIN = f"echozoo {Variant()}"
STEPS = 3
"""Training steps whose losses are compared."""


@dataclass(frozen=True)
class Plan:
    """What to measure of a setting.

    Attributes:
        shapes: Of the batches.
        variants: Of the config's network, beside plain float32, which is always there.
        repeats: Times that count of each side and shape.
        warmup: Times before these.
        memory: Whether to measure memory, in a process for each side and shape.
    """

    shapes: Sequence[Shape] = (Shape(),)
    variants: Sequence[Variant] = ()
    repeats: int = 5
    warmup: int = 1
    memory: bool = True


def compare_networks(setting: Setting, plan: Plan) -> Result:
    """Measure a forward pass or a training step.

    Args:
        setting: What is run, and against what.
        plan: How.

    Returns:
        A row for each shape and side; ``disagreement`` where float32 outputs are not equal.

    Raises:
        ConfigError: The two sides cannot be compared.
    """
    setting.enter()
    other = find_reference(setting)
    names: dict[str, Variant | None] = {other.name: None} if other else {}
    names |= {f"echozoo {variant}": variant for variant in (Variant(), *plan.variants)}
    result = Result(title_of(setting), COLUMNS)
    result.notes += notes_of(setting, plan.repeats, plan.warmup, plan.memory, next(iter(names)))
    # Of bfloat16 only where it is used: a CPU may be slow at it.
    dtypes = dict.fromkeys(map(_dtype, names.values()))
    peaks = {dtype: matmul_peak(setting.device, dtype) for dtype in dtypes}
    result.facts["matmul_flops_per_s"] = {str(dtype): peak for dtype, peak in peaks.items()}
    for shape in plan.shapes:
        rows = _measure(setting, plan, names, shape, result)
        for row in rows:
            work, peak = row["flops"], peaks[_dtype(names[row["side"]])]
            row["share_of_peak"] = work and work / row["median_s"] / peak
        result.rows += rows
    result.notes += summary(result.rows)
    return result


def relative_difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference of two tensors over the largest value of the second.

    Args:
        found: What is judged.
        wanted: What it is judged by.
    """
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def _measure(
    setting: Setting,
    plan: Plan,
    names: Mapping[str, Variant | None],
    shape: Shape,
    result: Result,
) -> list[dict[str, Any]]:
    """Measure all sides on one shape; what is to be said of them goes into the result."""
    sides = {name: make_side(setting, variant, shape) for name, variant in names.items()}
    first = next(iter(names))
    standard = _standard(setting, sides, first, result)
    outputs = {name: _outputs(setting, side) for name, side in sides.items()}
    # On plain networks, for all variants: compiled and quantised code hides what it computes.
    flops = {name: count_flops(sides[name].run) for name in dict.fromkeys((first, PLAIN))}
    runs = {name: side.run for name, side in sides.items()}
    timings = alternate(runs, plan.repeats, plan.warmup, setting.device)
    del sides, runs  # room for the processes that measure memory
    rows: list[dict[str, Any]] = []
    for name, variant in names.items():
        row = {"side": name, "batch": shape.clips, "frames": shape.frames}
        row |= row_of(timings[name], timings[first])
        row["median_s_per_image"] = row["median_s"] / shape.images
        row["flops"] = None if variant and variant.int8 else flops.get(name, flops[PLAIN])
        judged = name != standard and (variant is not None or standard == first)
        row |= _difference(setting, outputs[name], outputs[standard], judged)
        row |= _memory(setting, plan, variant, shape, rows)
        rows.append(row)
    if standard != PLAIN:
        _judge(next(row for row in rows if row["side"] == PLAIN), standard, result)
    return rows


def _dtype(variant: Variant | None) -> torch.dtype:
    return torch.bfloat16 if variant and variant.bf16 else torch.float32


def _standard(setting: Setting, sides: Mapping[str, Side], first: str, result: Result) -> str:
    """The side that outputs are compared with, after a check that the sides are alike.

    Raises:
        ConfigError: Unequal numbers of parameters train.
    """
    own_parts = sides[PLAIN].own_parts
    if own_parts:
        line = f"{first} has no {', '.join(own_parts)}: outputs are compared with {PLAIN}"
        result.notes += [] if line in result.notes else [line]
        return PLAIN
    if setting.part == "train":
        counts = {name: trainable(sides[name].network) for name in (first, PLAIN)}
        if counts[first] != counts[PLAIN]:
            raise ConfigError(
                f"--against: {counts[PLAIN]:,} parameters of the config's model train, and "
                f"{counts[first]:,} of {first}; compare a config with the same trainable parts "
                "(configs/samus.py)"
            )
        line = f"parameters that train, on every side: {counts[PLAIN]:,}"
        result.notes += [] if line in result.notes else [line]
    return first


def _outputs(setting: Setting, side: Side) -> Tensor:
    # Convolutions of a GPU round float32 to ten bits unless told otherwise.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return _trained(side) if setting.part == "train" else side.run().cpu()


def _trained(side: Side) -> Tensor:
    """The losses of the first steps, and the norm of the first step's gradient."""
    squares: list[Tensor] = []
    hooks = [
        p.register_post_accumulate_grad_hook(lambda p: squares.append(p.grad.square().sum()))
        for p in side.network.parameters()
        if p.requires_grad
    ]
    losses = [side.run()]
    for hook in hooks:
        hook.remove()
    losses += [side.run() for _ in range(STEPS - 1)]
    return torch.stack([*losses, torch.stack(squares).sum().sqrt()]).float().cpu()


def _difference(
    setting: Setting, found: Tensor, wanted: Tensor, judged: bool
) -> dict[str, float | None]:
    if not judged:
        return {"difference": None, "masks_agree": None}
    if setting.part == "train":
        return {"difference": ((found - wanted) / wanted).abs().max().item(), "masks_agree": None}
    agreement = ((found > 0) == (wanted > 0)).float().mean().item()
    agreement = None if setting.encoder_only else agreement
    return {"difference": relative_difference(found, wanted), "masks_agree": agreement}


def _memory(
    setting: Setting,
    plan: Plan,
    variant: Variant | None,
    shape: Shape,
    before: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Peak memory, beside that of the first of the rows that are there."""
    if not plan.memory:
        return {"peak_bytes": None, "at_rest_bytes": None, "memory_ratio": None}
    memory = side_memory(setting, variant, shape)
    first = before[0]["peak_bytes"] if before else memory.peak
    return {
        "peak_bytes": memory.peak,
        "at_rest_bytes": memory.at_rest,
        "memory_ratio": memory.peak / first,
    }


def _judge(row: Mapping[str, Any], standard: str, result: Result) -> None:
    if not row["difference"] < TOLERANCE:  # NaN is no agreement
        result.disagreement = (
            f"{result.title}, batch {row['batch']}, T = {row['frames']}: {PLAIN} differs from "
            f"{standard} by {row['difference']:.1e}, wanted less than {TOLERANCE:.0e}"
        )
