"""What metrics that keep one result a clip have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric


class CaseMetric(BaseMetric):
    """A metric whose `process` leaves exactly one result a clip, each known by its name.

    Args:
        report: Whether to make the table with its intervals, and files.
        out_dir: Folder for the files; None writes none.
        config_name: Name of the config, for the files.
        seed: Seed of the bootstrap.
        n_resamples: Resamples of the bootstrap.
        prefix: Prefix of the metrics' names; None is the class's own.

    Attributes:
        about: What is known of a test beside its config, for the files; its Runner tells.
    """

    about: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        report: bool = True,
        out_dir: str | None = None,
        config_name: str | None = None,
        seed: int = 0,
        n_resamples: int = 2000,
        prefix: str | None = None,
    ) -> None:
        # "gpu" is mmengine's name for all_gather_object, which works over gloo as well; its "cpu"
        # goes through files in the working directory.
        super().__init__(collect_device="gpu", prefix=prefix)
        self.report = report
        self.out_dir = out_dir
        self.config_name = config_name
        self.seed = seed
        self.n_resamples = n_resamples

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the results of all processes and summarise them.

        Args:
            size: Length of the dataset. Not used: mmengine would cut the gathered list to it, which
                loses cases where a sampler pads otherwise than mmengine's own; here a case
                that came twice is known by its name.
        """
        return super().evaluate(sys.maxsize)


def counted_cases(sample: Mapping[str, Any]) -> np.ndarray:
    """Say what is measured of a predicted sample.

    Args:
        sample: An `EchoDataSample`, or one as a dict.

    Returns:
        (T, K) bool: what is ``labelled``, but nothing of a frame whose masks were ``given``.
    """
    frames, labelled = [int(frame) for frame in sample.get("frames")], sample.get("labelled")
    counted = np.ones((len(frames), len(sample.get("structures"))), bool)
    if labelled is not None:
        counted = to_numpy(labelled).copy()
    # A short film is played to and fro: a given frame may come again.
    counted[np.isin(frames, sorted(given_frames(sample)))] = False
    return counted


def given_frames(sample: Mapping[str, Any]) -> set[int]:
    """Indices of the frames of a sample whose masks the segmentor was given."""
    given = sample.get("given")
    pairs = () if given is None else zip(sample.get("frames"), to_numpy(given), strict=True)
    return {int(frame) for frame, is_given in pairs if is_given}


def given_note(clips: Iterable[Any]) -> tuple[int, str]:
    """Count the frames of clips (`ScoredClip`) whose masks were given, and say so in a line."""
    count = len({(clip.sequence, frame) for clip in clips for frame in clip.given})
    return count, f"{count} frames whose masks were given are in no number" if count else ""


def to_numpy(array: Any) -> np.ndarray:
    """A tensor or an array as an array."""
    return array.cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
