#!/usr/bin/env python3
"""Measure speed and memory of a forward pass and of a training step.

    python tools/benchmark.py forward --against SAMUS --batch 1 8 --int8 -o out
    python tools/benchmark.py train --against SAMUS --batch 1 4
    python tools/benchmark.py forward --config configs/sam.py --against segment-anything
    python tools/benchmark.py forward --config configs/lite_medsam.py --against MedSAM
    python tools/benchmark.py forward --config configs/samus_tra.py --frames 1 4 8 16

SAMUS is a checkout of the published code (https://github.com/xianlin7/SAMUS), MedSAM one of
https://github.com/bowang-lab/MedSAM, branch LiteMedSAM. All sides get the same random weights and
inputs and are timed by turns; ratios are against the first side, their range is over the rounds.
Exit status 1 where float32 outputs differ. Peak memory is of a second run in a process of its own,
above what its imports take; GFLOP are products, convolutions and attention.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from benchmark_published import Published, find_published, random_weights
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from echozoo.apis.execution import check_execution, place
from echozoo.engine import failures, launch
from echozoo.engine.config_file import load_config
from echozoo.engine.provenance import machine
from echozoo.engine.scales import apply_scale
from echozoo.errors import ConfigError, EchoZooError, one_line_errors
from echozoo.evaluation.report import origin, write_content, write_text
from echozoo.models import load_published
from echozoo.notices import log_to_stderr
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample
from echozoo.tables.document import Grid, Section, Text, markdown

SAMUS = Path(__file__).resolve().parents[1] / "configs" / "samus.py"
TOLERANCE = 1e-4
"""Largest relative difference of float32 outputs that passes for equal."""
COLUMNS = {
    **{"side": "", "batch": "", "frames": "", "seconds": ".4g", "ratio": ".2f"},
    **{"range": "", "gflop": ".1f", "peak_mb": ".0f", "memory_ratio": ".2f"},
    **{"difference": ".0e", "pixels_agree": ".2%", "lacks": ""},
}


def alternate(args: argparse.Namespace, runs: Mapping[str, Callable]) -> list[dict]:
    """Time functions by turns, so that what else the machine does slows them alike.

    Returns:
        A row each: median seconds, and how many times as fast as the first it is.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(1 + args.repeats):  # the first does not count
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if args.device.startswith("cuda"):
                torch.cuda.synchronize(args.device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    first, rows = np.array(next(iter(seconds.values()))), []
    for name, times in seconds.items():
        each, median = first / times, float(np.median(times))
        row = dict(side=name, seconds=median, ratio=float(np.median(first)) / median)
        rows.append(row | dict(range=f"{each.min():.2f}-{each.max():.2f}", all_seconds=times))
    return rows


def measure(part: str, args: argparse.Namespace, cfg: Config) -> list[dict]:
    """Measure a forward pass or a training step of all sides, at each size of a batch."""
    published = find_published(args.against, part)
    sides = ["published"] if published else []
    sides += ["float32", *(name for name in ("bf16", "int8", "compile") if getattr(args, name))]
    rows = []
    for shape in product(args.batch, args.frames):
        made = {side: make_side(part, side, shape, args, cfg, published) for side in sides}
        runs, lacks = ({side: one[i] for side, one in made.items()} for i in (0, 1))
        outputs = {side: run().float().cpu() for side, run in runs.items()}
        flops = {side: count_flops(runs[side]) for side in ("published", "float32") if side in runs}
        measured = alternate(args, runs)
        del made, runs  # room for the processes that measure memory
        wanted = outputs[sides[0]]
        for row in measured:
            side = row["side"]
            found = outputs[side]
            row |= dict(batch=shape[0], frames=shape[1], gflop=flops.get(side), lacks=lacks[side])
            if side != sides[0] and not lacks[side]:
                row["difference"] = ((found - wanted).abs().max() / wanted.abs().max()).item()
                if part == "forward" and not (published and published.parts):
                    row["pixels_agree"] = ((found > 0) == (wanted > 0)).float().mean().item()
            if not args.no_memory:
                row["peak_mb"] = memory_of(args, cfg, part, side, shape)
                row["memory_ratio"] = row["peak_mb"] / measured[0]["peak_mb"]
        rows += measured
    return rows


def make_side(
    part: str,
    side: str,
    shape: tuple[int, int],
    args: argparse.Namespace,
    cfg: Config,
    published: Published | None,
    weights: bool = True,
) -> tuple[Callable[[], Tensor], str | None]:
    """Build a side and its inputs; with ``weights`` it has those that all sides have.

    Returns:
        What runs it once and gives logits, embedding or loss; and what of it the first side lacks.
    """
    device, optimiser, left = torch.device(args.device), cfg.optim_wrapper, []
    outline = build(cfg, "meta")  # sizes, names, numbers
    shared = random_weights(published.build(outline)) if published and weights else {}
    clips, samples = make_batch(cfg, outline, shape, args.device)
    if side == "published":
        network = published.build(outline)
        network.load_state_dict(shared or network.state_dict())
        network.to(device).train(part == "train")  # which may work tables out of the weights
        forward = partial(published.forward, network, clips, samples)
        loss = partial(published_loss, forward, samples, MODELS.build(cfg.model.loss))
        optimiser = dict(optimizer=dict(type="Adam", lr=cfg.optim_wrapper.optimizer.lr))
    else:
        network = build(cfg, "cpu")
        parts = published.parts if published else None
        if shared:
            named = {published.prefix + key: value for key, value in shared.items()}
            left = load_published(network, named, parts).left
            left = [key for key in left if key.startswith(parts or "")]
        int8, compiled = side == "int8", side == "compile"
        check_execution(device, int8, side == "bf16", compiled)
        network.train(part == "train")
        place(network, device, int8, compiled, network.sees == "clip" or part == "train")
        frames, count = clips.flatten(0, 1), shape[1]
        forward = partial(network, clips, samples, mode="tensor")
        if parts:
            forward = lambda: network.encode(frames, num_frames=count).embedding  # noqa: E731
        loss = lambda: network.parse_losses(network(clips, samples, mode="loss"))[0]  # noqa: E731
    if part == "train":
        run = partial(step, loss, build_optim_wrapper(network, optimiser))
    else:
        run = torch.no_grad()(forward)
    run = torch.autocast(device.type, torch.bfloat16, enabled=side == "bf16")(run)
    return run, ", ".join(sorted({".".join(key.split(".")[:2]) for key in left})) or None


def build(cfg: Config, device: str) -> nn.Module:
    """Build the config's model with random weights, or on "meta" without memory for them."""
    launch.forget_pretrained(cfg)
    torch.manual_seed(0)
    with torch.device(device):
        return MODELS.build(copy.deepcopy(cfg.model))


def published_loss(forward: Callable, samples: list[EchoDataSample], loss: nn.Module) -> Tensor:
    """The same loss of the published network's logits (N, 1, h, w)."""
    logits = forward()
    labels = torch.cat([sample.gt_labels for sample in samples])[:, None]  # (N, 1, H, W)
    small = nn.functional.interpolate(labels, logits.shape[-2:], mode="nearest-exact")
    return sum(loss(logits, (small == 1).float()).values())


def step(loss: Callable[[], Tensor], optimiser: object) -> Tensor:
    """A training step: the loss before it."""
    value = loss()
    optimiser.update_params(value)
    return value.detach()


def make_batch(
    cfg: Config, model: nn.Module, shape: tuple[int, int], device: str
) -> tuple[Tensor, list[EchoDataSample]]:
    """Draw scaled clips (B, T, C, H, W), and a click, a box and a disc as label for each frame."""
    height, width = cfg.test_dataloader.dataset.image_size
    names = getattr(getattr(model, "prompt_head", None), "names", None)
    structures = 1 if names is None else len(names.weight)
    draw = torch.Generator().manual_seed(0)
    clips = torch.rand(*shape, len(model.data_preprocessor.mean), height, width, generator=draw)
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    rings = sum((x.square() + y.square() < limit).byte() for limit in (0.1, 0.3, 0.5))
    samples = []
    for _ in range(shape[0]):
        clicks = torch.rand(shape[1], structures, 2, generator=draw) * 0.5 + 0.25
        clicks = (clicks * torch.tensor([width, height])).floor()
        sample = EchoDataSample(metainfo=dict.fromkeys(("input_size", "valid_size"), rings.shape))
        sample.points = clicks[:, :, None]  # (T, K, 1, 2)
        sample.point_labels = torch.ones(shape[1], structures, 1, dtype=torch.long)
        sample.boxes = torch.cat([clicks - width / 8, clicks + width / 8], -1)  # (T, K, 4)
        sample.gt_labels = rings.expand(shape[1], height, width).clone()
        samples.append(sample.to(device))
    return clips.to(device), samples


def count_flops(run: Callable[[], object]) -> float:
    """Count the GFLOP of products, convolutions and attention in one call."""
    in_place = {torch.ops.aten.addmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * b[1]}
    counter = FlopCounterMode(display=False, custom_mapping=in_place)
    # torch's tracker of modules fails where some run without gradients: count the whole alone.
    counter.mod_tracker = contextlib.nullcontext()
    counter.mod_tracker.parents = ("Global",)
    # Attention as the products that it is: the CPU's kernel for it has no count in torch.
    with sdpa_kernel(SDPBackend.MATH), counter:
        run()
    return counter.get_total_flops() / 1e9


def memory_of(args: argparse.Namespace, cfg: Config, part: str, *which: object) -> float:
    """Measure the peak memory of one side at one size in MB, in a process of its own."""
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(_memory_here, args, cfg, part, *which).result() / 1e6
    except BrokenExecutor as error:
        side, (batch, _) = which
        raise EchoZooError(
            f"memory of {side}, batch {batch}: its process ended; out of memory? or --no-memory"
        ) from error


def _memory_here(args: argparse.Namespace, cfg: Config, part: str, side: str, shape: tuple) -> int:
    """The bytes that a side takes at its peak, its second run."""
    prepare(args, cfg)
    published, outline = find_published(args.against, part), build(cfg, "meta")
    if published:
        published.build(outline)  # imports what building imports
    before = _peak_bytes(args.device, reset=True)
    run, _ = make_side(part, side, shape, args, cfg, published, weights=False)
    run()
    gc.collect()
    _peak_bytes(args.device, reset=True)
    run()
    return _peak_bytes(args.device) - before


def _peak_bytes(device: str, reset: bool = False) -> int:
    """The most that was allocated on a GPU, or resident, since the last reset."""
    if device.startswith("cuda"):
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    pairs = dict(nargs="+", action=launch.KeyValue, default={}, metavar="KEY=VALUE")
    add("parts", nargs="+", choices=("forward", "train"), help="what to measure")
    add("--config", default=SAMUS, help="a file of configs/ (default: samus.py)")
    add("--scale", metavar="NAME", help="a size that the config declares")
    add("--cfg-options", help="set any key of the config", **pairs)
    add("--against", metavar="DIR", help="a checkout of published code, or segment-anything")
    add("--batch", nargs="+", type=int, default=[1], help="clips (default: 1)")
    add("--frames", nargs="+", type=int, default=[1], help="of a clip (default: 1)")
    add("--amp", dest="bf16", action="store_true", help="in bf16 too")
    add("--int8", action="store_true", help="forward: quantised too, on the CPU")
    add("--compile", action="store_true", help="with a compiled image encoder too")
    add("--no-memory", action="store_true", help="leave out peak memory")
    add("--device", help="cpu, cuda ... (default: a GPU where there is one)")
    add("--dataset", help="set keys of the data sets, such as image_size", **pairs)
    add("--repeats", type=int, default=5, help="rounds that count (default: 5)")
    add("--threads", type=int, help="threads of torch (default: its own number)")
    add("-o", "--out", type=Path, help="folder of benchmark.json and benchmark.md")
    args = parser.parse_args()
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if min(args.repeats, args.threads or 1, *args.batch, *args.frames) < 1:
        raise ConfigError("--repeats, --threads, --batch, --frames: wanted 1 or more")
    if args.int8 and "train" in args.parts:
        raise ConfigError("--int8 is for inference: measure train without it")
    return args


def as_section(part: str, rows: list[dict]) -> Section:
    """Make a table of rows, without columns that are empty."""
    names = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    cells = [
        ["" if row.get(name) is None else format(row[name], COLUMNS[name]) for name in names]
        for row in rows
    ]
    return Section(part, [Grid(names, cells)])


def prepare(args: argparse.Namespace, cfg: Config) -> None:
    """Set what holds for a whole process."""
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # ten bits in place of float32's
    init_default_scope(cfg.get("default_scope", "echozoo"))
    import_modules_from_strings(**(cfg.get("custom_imports") or {"imports": None}))


@one_line_errors
def main() -> int:
    """Measure; the status is 1 where sides that should agree do not."""
    args = parse_args()
    log_to_stderr()
    cfg = load_config(args.config)
    apply_scale(cfg, args.scale)
    launch.set_data(cfg, None, args.dataset)
    launch.set_options(cfg, args.cfg_options)
    prepare(args, cfg)
    with failures.one_line():
        parts = {part: measure(part, args, cfg) for part in dict.fromkeys(args.parts)}
    # No folder of this machine: of a path, its last name.
    words = [str(Path(word).name) if Path(word).is_absolute() else word for word in sys.argv[1:]]
    made = origin() | dict(machine=machine(), threads=torch.get_num_threads(), parts=parts)
    made["command"] = " ".join(["python", "tools/benchmark.py", *words])
    head = Text(f"`{made['command']}`: {made['machine']}, {made['threads']} threads")
    tables = [as_section(part, rows) for part, rows in parts.items()]
    text = markdown("Benchmark", [Section(made["date"], [head]), *tables])
    print(text)
    if args.out:
        print(write_content(args.out / "benchmark.json", made))
        print(write_text(args.out / "benchmark.md", text))
    wrong = [
        f"{part}: {row['side']} differs by {row['difference']:.1e}, wanted < {TOLERANCE:.0e}"
        for part, rows in parts.items()
        for row in rows
        if row["side"] == "float32" and not row.get("difference", 0) < TOLERANCE  # nor is NaN equal
    ]
    for line in wrong:
        print(f"not equal: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
