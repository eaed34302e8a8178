#!/usr/bin/env python3
"""Measure speed and memory of a forward pass or of a training step, beside published code.

    python tools/benchmark.py forward --against SAMUS --batch 1 8 --int8 -o benchmark.json
    python tools/benchmark.py train --against SAMUS --batch 1 4
    python tools/benchmark.py forward --config configs/sam.py --against segment-anything
    python tools/benchmark.py forward --config configs/lite_medsam.py --against MedSAM
    python tools/benchmark.py forward --config configs/samus_tra.py --frames 1 4 8 16

SAMUS is a checkout of the published code (https://github.com/xianlin7/SAMUS), MedSAM one of
https://github.com/bowang-lab/MedSAM, branch LiteMedSAM; nothing of it is copied. All sides get the
same random weights and inputs and are timed by turns; ratios are against the first side, their
range is over the rounds. Exit status 1 where float32 outputs differ. Peak memory is of a second
run in a process of its own, above what its imports take; GFLOP are products, convolutions and
attention.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import importlib.util
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from echozoo.apis.execution import check_execution, place
from echozoo.engine import failures, launch
from echozoo.engine.provenance import machine
from echozoo.engine.scales import load_scaled
from echozoo.errors import ConfigError, EchoZooError, one_line_errors
from echozoo.evaluation.report import origin, write_content
from echozoo.models import load_published
from echozoo.notices import log_to_stderr
from echozoo.options import add_pairs, command_parser
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample
from echozoo.tables.document import Grid, Section, markdown

SAMUS = Path(__file__).resolve().parents[1] / "configs" / "samus.py"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = 1e-4
"""Largest relative difference of float32 outputs that passes for equal."""
COLUMNS = {
    **dict(side="", batch="", frames="", seconds=".4g", ratio=".2f", range="", gflop=".1f"),
    **dict(peak_mb=".0f", memory_ratio=".2f", difference=".0e", pixels_agree=".2%"),
}
# Files that checkouts are known by, and what these import besides torch, as far as they use it.
_SAMUS = Path("models", "segment_anything_samus", "build_sam_us.py")
_LITE_MEDSAM = Path("tiny_vit_sam.py")
_STAND_INS = {
    **{"turtle": dict(shape=None), "einops": dict(rearrange=None), "timm": {}, "timm.models": {}},
    "timm.models.layers": dict(
        DropPath=nn.Identity, to_2tuple=lambda x: (x, x), trunc_normal_=nn.init.trunc_normal_
    ),
    "timm.models.registry": dict(register_model=lambda function: function),
}


class Published(NamedTuple):
    """Published code: from the config's model to a network of its sizes, and how that is run.

    ``prefix`` is what its keys lack of those in published files; ``parts`` are those of the
    config's model that it is, None for all of it.
    """

    build: Callable[[nn.Module], nn.Module]
    forward: Callable[[nn.Module, Tensor, Sequence[EchoDataSample]], Tensor]
    prefix: str = ""
    parts: tuple[str, ...] | None = None


def find_published(against: str | None, part: str) -> Published | None:
    """Find what ``--against`` names, for "forward" or "train"; None without it."""
    if against is None:
        return None
    folder = Path(against).expanduser()
    if (folder / _SAMUS).is_file():
        return Published(partial(_samus, folder), _run_samus)
    if against != "segment-anything" and not (folder / _LITE_MEDSAM).is_file():
        raise ConfigError(
            f"--against {against}: no {_SAMUS} or {_LITE_MEDSAM} in it; give a checkout of "
            "https://github.com/xianlin7/SAMUS or LiteMedSAM, or segment-anything"
        )
    if part != "forward":
        raise ConfigError(f"--against {against}: it is an image encoder: measure forward alone")
    build = _sam if against == "segment-anything" else partial(_tiny_vit, folder)
    return Published(build, _encode, "image_encoder.", ("backbone",))


def _sam(model: nn.Module) -> nn.Module:
    from segment_anything.modeling import ImageEncoderViT

    own = model.backbone
    return ImageEncoderViT(
        img_size=own.grid_size * own.patch_size,
        patch_size=own.patch_size,
        embed_dim=own.embed_dims,
        depth=len(own.blocks),
        num_heads=own.num_heads,
        out_chans=own.neck[0].out_channels,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=own.use_rel_pos,
        window_size=own.window_size,
        global_attn_indexes=own.global_attn_indexes,
    )


def _tiny_vit(folder: Path, model: nn.Module) -> nn.Module:
    sizes = dict(embed_dims=[64, 128, 160, 320], num_heads=[2, 4, 5, 10])  # its own, no defaults
    return _load(folder / _LITE_MEDSAM).TinyViT(img_size=256, drop_path_rate=0.0, **sizes)


def _encode(network: nn.Module, clips: Tensor, samples: Sequence[EchoDataSample]) -> Tensor:
    return network(clips.flatten(0, 1).expand(-1, 3, -1, -1))


def _samus(folder: Path, model: nn.Module) -> nn.Module:
    if getattr(model.prompt_head, "names", None) is not None:
        raise ConfigError(
            "--against: the published SAMUS takes one click an image, the config's model one a "
            "structure; set --cfg-options model.prompt_head.num_structures=0"
        )
    own = model.backbone
    return _load(folder / _SAMUS)._build_samus(
        types.SimpleNamespace(encoder_input_size=own.grid_size * own.patch_stride),
        encoder_embed_dim=own.embed_dims,
        encoder_depth=len(own.blocks),
        encoder_num_heads=own.num_heads,
        encoder_global_attn_indexes=list(own.global_attn_indexes),
    )


def _run_samus(network: nn.Module, clips: Tensor, samples: Sequence[EchoDataSample]) -> Tensor:
    points = torch.cat([sample.points[:, 0] for sample in samples])  # (N, 1, 2)
    labels = torch.cat([sample.point_labels[:, 0] for sample in samples])  # (N, 1)
    return network(clips.flatten(0, 1), (points, labels))["low_res_logits"]


def _load(file: Path) -> types.ModuleType:
    """Import a file of a checkout as part of a package that nobody else has the name of."""
    package = f"_published_{abs(hash(file.resolve().parent))}"
    absent = {one for one in _STAND_INS if importlib.util.find_spec(one.split(".")[0]) is None}
    for one in absent:
        sys.modules[one] = types.ModuleType(one)
        vars(sys.modules[one]).update(_STAND_INS[one], __path__=[])
    sys.modules.setdefault(package, types.ModuleType(package)).__path__ = [str(file.parent)]
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except ModuleNotFoundError as error:
        raise ConfigError(f"--against: {file} needs the package {error.name}") from error
    finally:
        for one in absent:
            del sys.modules[one]


def random_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network moved a little, so that no table stays at its initial zeros."""
    draw, weights = torch.Generator().manual_seed(0), network.state_dict()
    for key, value in weights.items():
        if value.is_floating_point():
            weights[key] = value + 0.02 * torch.randn(value.shape, generator=draw)
    return weights


def make_side(
    side: str, shape: tuple[int, int], args: argparse.Namespace, cfg: Config, weights: bool = True
) -> Callable[[], Tensor]:
    """Build a side and its inputs, B clips of T frames.

    Returns:
        What runs it once and gives logits, embedding or loss. With ``weights`` a side has those
        that all have.
    """
    published, training = find_published(args.against, args.part), args.part == "train"
    outline = build(cfg, "meta")  # sizes, names, numbers
    shared = random_weights(published.build(outline)) if published and weights else {}
    clips, samples = make_batch(cfg, outline, shape)
    optimiser = cfg.optim_wrapper
    if side == "published":
        network = published.build(outline)
        network.load_state_dict(shared or network.state_dict())
        network.to(DEVICE).train(training)  # which may work tables out of the weights
        forward = partial(published.forward, network, clips, samples)
        loss = partial(published_loss, forward, samples, MODELS.build(cfg.model.loss))
        optimiser = dict(optimizer=dict(type="Adam", lr=optimiser.optimizer.lr))
    else:
        network = build(cfg, "cpu")
        parts = published.parts if published else None
        if shared:
            named = {published.prefix + key: value for key, value in shared.items()}
            left = [
                k for k in load_published(network, named, parts).left if k.startswith(parts or "")
            ]
            if left:
                raise ConfigError(f"--against: the published code has no {left[0]}, the model has")
        int8, compiled = side == "int8", side == "compile"
        check_execution(torch.device(DEVICE), int8, side == "bf16", compiled)
        network.train(training)
        place(network, torch.device(DEVICE), int8, compiled, network.sees == "clip" or training)
        forward = partial(network, clips, samples, mode="tensor")
        if parts:
            frames = clips.flatten(0, 1)
            forward = lambda: network.encode(frames, num_frames=shape[1]).embedding  # noqa: E731
        loss = lambda: network.parse_losses(network(clips, samples, mode="loss"))[0]  # noqa: E731
    if training:
        run = partial(step, loss, build_optim_wrapper(network, optimiser))
    else:
        run = torch.no_grad()(forward)
    return torch.autocast(DEVICE, torch.bfloat16, enabled=side == "bf16")(run)


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
    cfg: Config, model: nn.Module, shape: tuple[int, int]
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
        samples.append(sample.to(DEVICE))
    return clips.to(DEVICE), samples


def measure(args: argparse.Namespace, cfg: Config) -> list[dict]:
    """Measure all sides, at each size of a batch: a row each."""
    published = find_published(args.against, args.part)
    sides = ["published"] if published else []
    sides += ["float32", *(name for name in ("bf16", "int8", "compile") if getattr(args, name))]
    rows = []
    for shape in product(args.batch, args.frames):
        runs = {side: make_side(side, shape, args, cfg) for side in sides}
        outputs = {side: run().float().cpu() for side, run in runs.items()}
        flops = {side: count_flops(runs[side]) for side in ("published", "float32") if side in runs}
        measured, wanted = alternate(runs, args.repeats), outputs[sides[0]]
        del runs  # room for the processes that measure memory
        for row in measured:
            side, found = row["side"], outputs[row["side"]]
            row |= dict(batch=shape[0], frames=shape[1], gflop=flops.get(side))
            if side != sides[0]:
                row["difference"] = ((found - wanted).abs().max() / wanted.abs().max()).item()
                if args.part == "forward" and not (published and published.parts):
                    row["pixels_agree"] = ((found > 0) == (wanted > 0)).float().mean().item()
            if not args.no_memory:
                row["peak_mb"] = memory_of(side, shape, args, cfg)
                row["memory_ratio"] = row["peak_mb"] / measured[0]["peak_mb"]
        rows += measured
    return rows


def alternate(runs: Mapping[str, Callable], repeats: int) -> list[dict]:
    """Time functions by turns, so that what else the machine does slows them alike.

    Returns:
        A row each: median seconds, and how many times as fast as the first it is.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(1 + repeats):  # the first does not count
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    first, rows = np.array(next(iter(seconds.values()))), []
    for name, times in seconds.items():
        each, median = first / times, float(np.median(times))
        row = dict(side=name, seconds=median, ratio=float(np.median(first)) / median)
        rows.append(row | dict(range=f"{each.min():.2f}-{each.max():.2f}", all_seconds=times))
    return rows


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


def memory_of(side: str, shape: tuple[int, int], *given: object) -> float:
    """Measure the peak memory of one side at one size in MB, in a process of its own."""
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(_memory_here, side, shape, *given).result() / 1e6
    except BrokenExecutor as error:
        raise EchoZooError(
            f"memory of {side}, batch {shape[0]}: its process ended; out of memory? or --no-memory"
        ) from error


def _memory_here(side: str, shape: tuple, args: argparse.Namespace, cfg: Config) -> int:
    """The bytes that a side takes at its peak, its second run."""
    prepare(cfg)
    published, outline = find_published(args.against, args.part), build(cfg, "meta")
    if published:
        published.build(outline)  # imports what building imports
    before = _peak_bytes(reset=True)
    run = make_side(side, shape, args, cfg, weights=False)
    run()
    gc.collect()
    _peak_bytes(reset=True)
    run()
    return _peak_bytes() - before


def _peak_bytes(reset: bool = False) -> int:
    """The most that was allocated on a GPU, or resident, since the last reset."""
    if DEVICE == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(__doc__)
    add = parser.add_argument
    add("part", choices=("forward", "train"), help="what to measure")
    add("--config", default=SAMUS, help="a file of configs/ (default: samus.py)")
    add("--scale", metavar="NAME", help="a size that the config declares")
    add_pairs(parser, "--cfg-options", "set any key of the config")
    add("--against", metavar="DIR", help="a checkout of published code, or segment-anything")
    add("--batch", nargs="+", type=int, default=[1], help="clips (default: 1)")
    add("--frames", nargs="+", type=int, default=[1], help="of a clip (default: 1)")
    add("--amp", dest="bf16", action="store_true", help="in bf16 too")
    add("--int8", action="store_true", help="forward: quantised too, on the CPU")
    add("--compile", action="store_true", help="with a compiled image encoder too")
    add("--no-memory", action="store_true", help="leave out peak memory")
    add("--repeats", type=int, default=5, help="rounds that count (default: 5)")
    add("-o", "--out", type=Path, metavar="FILE.json", help="write all numbers, too")
    args = parser.parse_args()
    if min(args.repeats, *args.batch, *args.frames) < 1:
        raise ConfigError("--repeats, --batch, --frames: wanted 1 or more")
    if args.int8 and args.part == "train":
        raise ConfigError("--int8 is for inference: measure train without it")
    return args


def prepare(cfg: Config) -> None:
    """Set what holds for a whole process."""
    torch.backends.cudnn.allow_tf32 = False  # ten bits in place of float32's
    init_default_scope(cfg.get("default_scope", "echozoo"))
    import_modules_from_strings(**(cfg.get("custom_imports") or {"imports": None}))


@one_line_errors
def main() -> int:
    """Measure; the status is 1 where sides that should agree do not."""
    args = parse_args()
    log_to_stderr()
    cfg = load_scaled(args.config, args.scale)
    launch.set_options(cfg, args.cfg_options)
    prepare(cfg)
    with failures.one_line():
        rows = measure(args, cfg)
    names = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    cells = [
        ["" if row.get(name) is None else format(row[name], COLUMNS[name]) for name in names]
        for row in rows
    ]
    title = f"{args.part}: {machine()}, {torch.get_num_threads()} threads"
    print(markdown("Benchmark", [Section(title, [Grid(names, cells)])]))
    if args.out:
        # No folder of this machine: of a path, its last name.
        words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
        made = dict(command=" ".join(["tools/benchmark.py", *words]), title=title, rows=rows)
        print(write_content(args.out, origin() | made))
    wrong = [
        f"{row['side']} differs by {row['difference']:.1e}, wanted < {TOLERANCE:.0e}"
        for row in rows
        if row["side"] == "float32" and not row.get("difference", 0) < TOLERANCE  # nor is NaN equal
    ]
    for line in wrong:
        print(f"not equal: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
