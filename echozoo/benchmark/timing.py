"""Times of several runs by turns, and what to say of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Timing:
    """The times that one side took, in seconds, in the order in which they were measured."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median time."""
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile, between which half of the times lie."""
        low, high = np.percentile(self.seconds, [25, 75])
        return float(low), float(high)

    @property
    def extremes(self) -> tuple[float, float]:
        """Shortest and longest time."""
        return min(self.seconds), max(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """How many times as long one side takes as another.

    Attributes:
        medians: Ratio of the medians.
        low: Smallest ratio of two times measured in the same round.
        high: Largest such ratio.
    """

    medians: float
    low: float
    high: float


def ratio(slower: Timing, faster: Timing) -> Ratio:
    """Compare two sides that were timed by turns.

    Args:
        slower: What is divided.
        faster: What it is divided by; as many times as ``slower``, measured in the same rounds.
    """
    pairs = [a / b for a, b in zip(slower.seconds, faster.seconds, strict=True)]
    return Ratio(slower.median / faster.median, min(pairs), max(pairs))


def row_of(timing: Timing, first: Timing) -> dict[str, Any]:
    """What a table says of a side's times.

    Args:
        timing: The side's.
        first: Of the side that it is compared with, measured in the same rounds.
    """
    gain = ratio(first, timing)
    return {
        "median_s": timing.median,
        "quartiles_s": timing.quartiles,
        "extremes_s": timing.extremes,
        "seconds": timing.seconds,
        "speedup": gain.medians,
        "speedup_range": (gain.low, gain.high),
    }


def alternate(
    runs: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1, device: str = "cpu"
) -> dict[str, Timing]:
    """Time functions by turns, so that what else the machine does slows them alike.

    Args:
        runs: The functions by name; each round calls all of them in this order.
        repeats: Rounds that count.
        warmup: Rounds before these.
        device: Where they compute; a GPU is waited for.

    Returns:
        The times of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warmup + repeats):
        for name, run in runs.items():
            _finish(device)
            start = time.perf_counter()
            run()
            _finish(device)
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(times)) for name, times in seconds.items()}


def _finish(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
