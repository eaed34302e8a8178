#!/usr/bin/env python3
"""Measure speed and memory: forward pass, training step, data, measures of a test.

    python tools/benchmark.py forward --against SAMUS --batch 1 8 --int8 -o out
    python tools/benchmark.py train --against SAMUS --batch 1 4
    python tools/benchmark.py forward --config configs/sam.py --against segment-anything
    python tools/benchmark.py forward --config configs/lite_medsam.py --against MedSAM
    python tools/benchmark.py forward --config configs/samus_tra.py --frames 1 4 8 16
    python tools/benchmark.py data metrics --data-root /data/CAMUS

SAMUS is a checkout of the published code (https://github.com/xianlin7/SAMUS), MedSAM one of
https://github.com/bowang-lab/MedSAM, branch LiteMedSAM. All sides get the same random weights and
inputs and are timed by turns; ratios are against the first side, their range is over the rounds.
Exit status 1 where float32 outputs differ. Peak memory is of a second run in a process of its own,
above what its imports take; GFLOP are products, convolutions and attention. The measures (metrics)
are compared with MONAI, an epoch over cached data with one that decodes the files.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_data import measure_data, measure_metrics
from benchmark_published import Published, find_published, random_weights
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from echozoo.apis.execution import check_execution, place
from echozoo.engine import failures, launch
from echozoo.engine.config_file import load_config
from echozoo.engine.scales import apply_scale
from echozoo.errors import ConfigError, EchoZooError, one_line_errors
from echozoo.evaluation.report import origin, write_content, write_text
from echozoo.models import load_published
from echozoo.models.passes.fast_cpu import use_fast_cpu
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample
from echozoo.tables.record import machine

SAMUS = Path(__file__).resolve().parents[1] / "configs" / "samus.py"
TOLERANCE = 1e-4
"""Largest relative difference of float32 outputs that passes for equal."""
COLUMNS = {
    **{"what": "", "side": "", "batch": "", "frames": "", "seconds": ".4g", "ratio": ".2f"},
    **{"range": "", "gflop": ".1f", "peak_mb": ".0f", "memory_ratio": ".2f"},
    **{"difference": ".0e", "pixels_agree": ".2%"},
}
Rows = list[dict[str, Any]]


def alternate(runs: Mapping[str, Callable], args: argparse.Namespace) -> Rows:
    """Time functions by turns, so that what else the machine does slows them alike.

    Returns:
        A row each: median seconds, and how many times as fast as the first it is.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(args.warmup + args.repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if torch.device(args.device).type == "cuda":
                torch.cuda.synchronize(args.device)
            if turn >= args.warmup:
                seconds[name].append(time.perf_counter() - start)
    first = np.array(next(iter(seconds.values())))
    rows = []
    for name, times in seconds.items():
        each = first / times
        ratio, around = np.median(first) / np.median(times), f"{each.min():.2f}-{each.max():.2f}"
        row = {"side": name, "seconds": float(np.median(times)), "ratio": float(ratio)}
        rows.append({**row, "range": around, "all_seconds": times})
    return rows


def measure_networks(part: str, args: argparse.Namespace, cfg: Config) -> Rows:
    """Measure a forward pass or a training step of all sides, at each size of a batch."""
    published = find_published(args.against, part)
    sides = ["published"] if published else []
    sides += ["float32", *(name for name in ("bf16", "int8") if getattr(args, name))]
    rows = []
    for shape in product(args.batch, args.frames):
        made = {side: make_side(part, side, shape, args, cfg, published) for side in sides}
        runs = {side: run for side, (run, _) in made.items()}
        outputs = {side: run().float().cpu() for side, run in runs.items()}
        flops = {side: count_flops(runs[side]) for side in ("published", "float32") if side in runs}
        measured = alternate(runs, args)
        own_parts = {side: own for side, (_, own) in made.items()}
        del made, runs  # room for the processes that measure memory
        for row in measured:
            side, first = row["side"], sides[0]
            row |= {"batch": shape[0], "frames": shape[1], "gflop": flops.get(side)}
            if own_parts[side]:
                row["difference"] = f"has {', '.join(own_parts[side])} besides"
            elif side != first:
                logits = part == "forward" and not (published and published.parts)
                row |= differences(outputs[side], outputs[first], logits)
            if not args.no_memory:
                row["peak_mb"] = memory_of(part, side, shape)
                row["memory_ratio"] = row["peak_mb"] / measured[0]["peak_mb"]
        rows += measured
    return rows


def differences(found: Tensor, wanted: Tensor, logits: bool) -> dict[str, float]:
    """Compare outputs: largest difference over largest value; of logits, pixels of equal sign."""
    row = {"difference": ((found - wanted).abs().max() / wanted.abs().max()).item()}
    if logits:
        row["pixels_agree"] = ((found > 0) == (wanted > 0)).float().mean().item()
    return row


def make_side(
    part: str,
    side: str,
    shape: tuple[int, int],
    args: argparse.Namespace,
    cfg: Config,
    published: Published | None,
    share: bool = True,
) -> tuple[Callable[[], Tensor], list[str]]:
    """Build a side and its inputs; with ``share`` it has the weights that all sides have.

    Returns:
        What runs it once and gives logits, embedding or loss; and parts that the first lacks.
    """
    weights, left = {}, []
    if published and share:
        weights = random_weights(published.build(outline(cfg)))
    if side == "published":
        model = outline(cfg)
        network = published.build(model)
        if weights:
            network.load_state_dict(weights)
        network.to(args.device).train(part == "train")
        batch = make_batch(cfg, model, shape, args.device)
        if part == "train":
            return published_step(published, network, batch, cfg, args.device), []
        return torch.no_grad()(lambda: published.forward(network, *batch)), []
    model = build(cfg)
    if weights:
        named = {published.prefix + key: value for key, value in weights.items()}
        left = load_published(model, named, published.parts).left
        if published.parts:
            left = [key for key in left if key.startswith(published.parts)]
    batch = make_batch(cfg, model, shape, args.device)
    device = torch.device(args.device)
    if part == "train":
        use_fast_cpu(model.train().to(device))
        run = own_step(model, *batch, cfg)
    else:
        check_execution(device, side == "int8", side == "bf16", False)
        place(model.eval(), device, side == "int8", False, False)
        run = own_forward(model, *batch, bool(published and published.parts))
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=side == "bf16")
    return mixed(run), sorted({".".join(key.split(".")[:2]) for key in left})


def build(cfg: Config) -> nn.Module:
    """Build the config's model with random weights, on torch's current default device."""
    launch.forget_pretrained(cfg)
    torch.manual_seed(0)
    return MODELS.build(copy.deepcopy(cfg.model))


def outline(cfg: Config) -> nn.Module:
    """Build the config's model without memory for its weights: sizes, names, numbers."""
    with torch.device("meta"):
        return build(cfg)


def own_forward(
    model: nn.Module, clips: Tensor, samples: list[EchoDataSample], encoder: bool
) -> Callable[[], Tensor]:
    """A forward pass without gradients: logits, or the embedding."""

    @torch.no_grad()
    def run() -> Tensor:
        if not encoder:
            return model(clips, samples, mode="tensor")
        features = model.encode(clips.flatten(0, 1), num_frames=clips.shape[1])
        return features.embedding

    return run


def own_step(
    model: nn.Module, clips: Tensor, samples: list[EchoDataSample], cfg: Config
) -> Callable[[], Tensor]:
    """A training step with the config's optimiser: the loss before it."""
    optimiser = build_optim_wrapper(model, cfg.optim_wrapper)

    def run() -> Tensor:
        with optimiser.optim_context(model):
            loss, _ = model.parse_losses(model(clips, samples, mode="loss"))
        optimiser.update_params(loss)
        return loss.detach()

    return run


def published_step(
    published: Published, network: nn.Module, batch: tuple, cfg: Config, device: str
) -> Callable[[], Tensor]:
    """A training step as the published code does it, with Adam in float32: the loss before it."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=cfg.optim_wrapper.optimizer.lr)
    loss_function = MODELS.build(cfg.model.loss).to(device)
    labels = torch.cat([sample.gt_labels for sample in batch[1]])[:, None]  # (N, 1, H, W)

    def run() -> Tensor:
        logits = published.forward(network, *batch)  # (N, 1, h, w)
        small = nn.functional.interpolate(labels, logits.shape[-2:], mode="nearest-exact")
        loss = sum(loss_function(logits, (small == 1).float()).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return run


def make_batch(
    cfg: Config, model: nn.Module, shape: tuple[int, int], device: str
) -> tuple[Tensor, list[EchoDataSample]]:
    """Draw scaled clips (B, T, C, H, W), and a click, a box and a disc as label for each frame."""
    height, width = cfg.test_dataloader.dataset.image_size
    names = getattr(getattr(model, "prompt_head", None), "names", None)
    structures = 1 if names is None else len(names.weight)
    draw = torch.Generator().manual_seed(0)
    size = (*shape, len(model.data_preprocessor.mean), height, width)
    clips = torch.rand(size, generator=draw).to(device)
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    rings = sum((x.square() + y.square() < limit).byte() for limit in (0.1, 0.3, 0.5))
    samples = []
    for _ in range(shape[0]):
        clicks = torch.rand(shape[1], structures, 2, generator=draw) * 0.5 + 0.25
        clicks = (clicks * torch.tensor([width, height])).floor()
        meta = dict(input_size=(height, width), valid_size=(height, width))
        sample = EchoDataSample(metainfo=meta)
        sample.points = clicks[:, :, None]  # (T, K, 1, 2)
        sample.point_labels = torch.ones(shape[1], structures, 1, dtype=torch.long)
        sample.boxes = torch.cat([clicks - width / 8, clicks + width / 8], -1)  # (T, K, 4)
        sample.gt_labels = rings.expand(shape[1], height, width).clone()
        samples.append(sample.to(device))
    return clips, samples


def count_flops(run: Callable[[], object]) -> float:
    """Count the GFLOP of products, convolutions and attention in one call."""
    counts = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        torch.ops.aten.addmm_: lambda added, left, right, **_: 2 * left[0] * left[1] * right[1],
    }
    counter = FlopCounterMode(display=False, custom_mapping=counts)
    counter.mod_tracker = _Whole()
    with counter:
        run()
    return counter.get_total_flops() / 1e9


class _Whole(contextlib.nullcontext):
    """Stands for all modules: torch's tracker of them fails where some run without gradients."""

    parents = ("Global",)


def _attention(query: tuple, key: tuple, value: tuple, *_: object, **__: object) -> int:
    return 2 * query[0] * query[1] * query[2] * key[2] * (query[3] + value[3])


def _attention_backward(grad: tuple, query: tuple, key: tuple, value: tuple, *_, **__) -> int:
    return 5 * _attention(query, key, value) // 2  # the weights again, and two products of each


def memory_of(part: str, side: str, shape: tuple[int, int]) -> float:
    """Measure the peak memory of one side in MB, in a process of its own."""
    only = json.dumps([part, side, shape])
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", only]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = lines[-1] if lines else f"exit status {done.returncode}; out of memory?"
        raise EchoZooError(f"memory of {side}, batch {shape[0]}: {why} (or use --no-memory)")
    return float(done.stdout.split()[-1]) / 1e6


def memory_here(args: argparse.Namespace, cfg: Config) -> int:
    """The bytes that the side of ``--memory-of`` takes at its peak, its second run."""
    part, side, shape = json.loads(args.memory_of)
    published = find_published(args.against, part)
    model = outline(cfg)  # imports what building imports
    if published:
        published.build(model)
    before = _peak_bytes(args.device, reset=True)
    run, _ = make_side(part, side, tuple(shape), args, cfg, published, share=False)
    run()
    gc.collect()
    _peak_bytes(args.device, reset=True)
    run()
    return _peak_bytes(args.device) - before


def _peak_bytes(device: str, reset: bool = False) -> int:
    """The most that was allocated on a GPU, or resident, since the last reset."""
    if torch.device(device).type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return 1024 * int(peak)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    pairs = dict(nargs="+", action=launch.KeyValue, default={}, metavar="KEY=VALUE")
    add("parts", nargs="+", choices=("forward", "train", "data", "metrics"), help="what to measure")
    add("--config", default=SAMUS, help="a file of configs/ (default: samus.py)")
    add("--scale", metavar="NAME", help="a size that the config declares")
    add("--cfg-options", help="set any key of the config", **pairs)
    add("--against", metavar="DIR", help="a checkout of published code, or segment-anything")
    add("--batch", nargs="+", type=int, default=[1], help="clips (default: 1)")
    add("--frames", nargs="+", type=int, default=[1], help="of a clip (default: 1)")
    add("--amp", dest="bf16", action="store_true", help="in bf16 too")
    add("--int8", action="store_true", help="forward: quantised too, on the CPU")
    add("--no-memory", action="store_true", help="leave out peak memory")
    add("--device", help="cpu, cuda ... (default: a GPU where there is one)")
    add("--data-root", help="data, metrics: the data set's folder (or environment CAMUS_ROOT)")
    add("--dataset", help="set keys of the data sets", **pairs)
    add("--workers", type=int, default=0, help="data: processes that load (default: this one)")
    add("--patients", type=int, default=50, help="metrics without data: how many (default: 50)")
    add("--repeats", type=int, default=5, help="rounds that count (default: 5)")
    add("--warmup", type=int, default=1, help="rounds before these (default: 1)")
    add("--threads", type=int, help="threads of torch (default: its own number)")
    add("-o", "--out", type=Path, help="folder of benchmark.json and benchmark.md")
    add("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.data_root = args.data_root or os.environ.get("CAMUS_ROOT")
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if min(args.repeats, args.patients, args.threads or 1, *args.batch, *args.frames) < 1:
        raise ConfigError("--repeats, --patients, --threads, --batch, --frames: wanted 1 or more")
    if args.int8 and "train" in args.parts:
        raise ConfigError("--int8 is for inference: measure train without it")
    if "data" in args.parts and not args.data_root:
        raise ConfigError("data: no data: give --data-root FOLDER or set CAMUS_ROOT")
    return args


def as_table(rows: Rows) -> str:
    """Write rows as a table in Markdown, without columns that are empty."""
    names = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    lines = [names, ["---"] * len(names)]
    for row in rows:
        values = [(row.get(name), COLUMNS[name]) for name in names]
        shown = [
            format(value, "" if isinstance(value, str) else form)
            for value, form in values
            if value is not None
        ]
        cells = iter(shown)
        lines.append([next(cells) if value is not None else "" for value, _ in values])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@one_line_errors
def main() -> int:
    """Measure; the status is 1 where sides that should agree do not."""
    args = parse_args()
    cfg = load_config(args.config)
    apply_scale(cfg, args.scale)
    launch.set_data(cfg, args.data_root, args.dataset)
    launch.set_options(cfg, args.cfg_options)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # ten bits in place of float32's
    init_default_scope(cfg.get("default_scope", "echozoo"))
    import_modules_from_strings(**(cfg.get("custom_imports") or {"imports": None}))
    if args.memory_of:
        print(memory_here(args, cfg))
        return 0
    made = origin() | {"machine": machine(), "threads": torch.get_num_threads()}
    # No folder of this machine: of a path, its last name.
    words = [str(Path(word).name) if Path(word).is_absolute() else word for word in sys.argv[1:]]
    made["command"] = " ".join(["python", "tools/benchmark.py", *words])
    head = f"`{made['command']}`: {made['machine']}, {made['threads']} threads, {made['date']}"
    texts, parts = [head + "\n"], {}
    for part in dict.fromkeys(args.parts):
        with failures.one_line():
            if part in ("data", "metrics"):
                measure = measure_data if part == "data" else measure_metrics
                rows = measure(args, cfg, lambda runs: alternate(runs, args))
            else:
                rows = measure_networks(part, args, cfg)
        parts[part] = rows
        texts.append(f"## {part}\n\n{as_table(rows)}")
        print(texts[-1])
    if args.out:
        print(write_content(args.out / "benchmark.json", made | {"parts": parts}))
        print(write_text(args.out / "benchmark.md", "\n".join(texts)))
    wrong = [
        f"{part}: {row['side']} differs by {row['difference']:.1e}, wanted < {TOLERANCE:.0e}"
        for part, rows in parts.items()
        for row in rows
        if row["side"] in ("float32", "echozoo", "from the cache")
        and not isinstance(row.get("difference", ""), str)
        and not row["difference"] < TOLERANCE  # NaN is no agreement
    ]
    for line in wrong:
        print(f"not equal: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
