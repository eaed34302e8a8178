"""An ONNX file beside the torch module that it was made from: same numbers, how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

REPEATS = 5


@dataclass(frozen=True)
class Comparison:
    """A file compared with its module.

    Attributes:
        file_name: Of the ONNX file.
        megabytes: Size of the file, with the weights beside it where it has such (10^6 bytes).
        max_error: The largest difference between two numbers, over the largest number that torch
            gave, over all trials. Masks are not in it.
        mask_changes: The largest share of pixels of the masks that differ; 0 without masks.
        torch_ms: Time a frame with torch, in ms, the best of some runs.
        onnx_ms: The same with onnxruntime, on as many threads.
    """

    file_name: str
    megabytes: float
    max_error: float
    mask_changes: float
    torch_ms: float
    onnx_ms: float


def compare(
    file: Path, module: nn.Module, names: Sequence[str], trials: Sequence[Sequence[Tensor]]
) -> Comparison:
    """Run a file and its module on the same inputs, and time them on the last of these.

    Args:
        file: The ONNX file.
        module: What it was made from, in evaluation mode, on the CPU.
        names: Of the inputs.
        trials: Inputs, frames in the first dimension.

    Returns:
        How they compare.
    """
    session = _session(file)
    errors, changes = [0.0], [0.0]
    for inputs in trials:
        feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        with torch.no_grad():
            expected = module(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for want, got in zip(expected, session.run(None, feed), strict=True):
            got = torch.from_numpy(got)
            if want.dtype == torch.bool:
                changes.append((want != got).double().mean().item())
            else:
                errors.append(((want - got).abs().max() / want.abs().max()).item())
    frames = len(trials[-1][0])
    with torch.no_grad():
        seconds = _race(lambda: module(*trials[-1]), lambda: session.run(None, feed))
    torch_ms, onnx_ms = (1000 * each / frames for each in seconds)
    # A NaN is no small error, whatever `max` makes of it.
    worst = max(errors) if all(error == error for error in errors) else float("nan")
    size = sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*"))
    return Comparison(file.name, size / 1e6, worst, max(changes), torch_ms, onnx_ms)


def _session(file: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(
        file.as_posix(), options, providers=["CPUExecutionProvider"]
    )


def _race(*runs: Callable) -> list[float]:
    """Time functions by turns, so that what else the machine does slows them alike; in seconds."""
    best = [float("inf")] * len(runs)
    for _ in range(REPEATS):
        for place, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[place] = min(best[place], time.perf_counter() - start)
    return best
