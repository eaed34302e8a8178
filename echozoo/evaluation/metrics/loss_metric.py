"""The mean loss over a data set, to choose checkpoints by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from echozoo.errors import ConfigError
from echozoo.evaluation.metrics.case_metric import CaseMetric
from echozoo.registry import METRICS


@dataclass(frozen=True)
class ClipLoss:
    """The one result that a sample leaves."""

    sequence: str
    frames: tuple[int, ...]
    loss: float
    weight: int
    """Its frames with labels, repetitions included."""


@METRICS.register_module()
class LossMetric(CaseMetric):
    """Mean training loss of the labelled frames, without augmentation, with testing's prompts.

    The segmentor measures the loss of every clip where the config says so; together with the rule
    for the checkpoint, "the model of least loss" is three lines::

        model = dict(measure_loss=True)
        val_evaluator = [dict(type="SegmentationMetric", surface=False), dict(type="LossMetric")]
        default_hooks = dict(checkpoint=dict(save_best="val/loss", rule="less"))

    mmengine's own validation loss is a mean over batches, different in every process. Here a clip
    weighs as much as it has frames with labels, however clips are batched and dealt to processes,
    and counts once where a sampler repeats it. The key is ``val/loss``; NaN, of a diverged model,
    is never the least.

    Args:
        prefix: Of the key; "val" if None.
    """

    default_prefix = "val"

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(report=False, prefix=prefix)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the losses of a batch of clips; each with labels leaves one result.

        Raises:
            ConfigError: A sample has no loss.
        """
        for sample in data_samples:
            frames = tuple(int(frame) for frame in sample["frames"])
            labelled = sample.get("labelled")
            weight = len(frames) if labelled is None else int(labelled.any(1).sum())
            if not weight:
                continue
            if sample.get("loss") is None:
                raise ConfigError(
                    f"LossMetric: {sample['sequence']} came without a loss; wanted a segmentor "
                    "with measure_loss=True, and data with labels"
                )
            loss = float(sample["loss"])
            self.results.append(ClipLoss(sample["sequence"], frames, loss, weight))

    def compute_metrics(self, results: list[ClipLoss]) -> dict[str, float]:
        """Average the gathered losses, on the first process."""
        clips = {(clip.sequence, clip.frames): clip for clip in results}.values()
        total = math.fsum(clip.loss * clip.weight for clip in clips)
        return {"loss": total / (sum(clip.weight for clip in clips) or math.nan)}
