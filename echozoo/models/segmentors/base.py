"""What every segmentor of clips does the same way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce_dict
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from echozoo.models import contracts
from echozoo.models.checkpoints import initialise
from echozoo.models.freezing import freeze, hold_frozen_statistics
from echozoo.models.passes.adapting import add_adapters
from echozoo.models.segmentors.whole_films import WholeFilms
from echozoo.registry import MODELS


class ClipSegmentorMixin(WholeFilms):
    """Adapters and freezing by pattern, published weights, and losses averaged over the processes.

    Mixed into a subclass of mmengine's ``BaseModel``.
    """

    def prepare(
        self,
        adapters: Sequence[dict],
        frozen: Sequence[str],
        trainable: Sequence[str],
        pretrained: str | dict | None,
        view_head: dict | None = None,
    ) -> None:
        """Check the parts, add adapters, freeze, and remember where the weights to start from lie.

        Called at the end of a constructor. The weights are read by `init_weights`, which the
        Runner calls before training, so that a model can be built without them.

        Args:
            adapters: See `echozoo.models.passes.adapting.add_adapters`.
            frozen: Name patterns of parameters that do not train.
            trainable: Exceptions to these.
            pretrained: See `echozoo.models.checkpoints.initialise`.
            view_head: A `ViewHead`'s config, or None.
        """
        contracts.check_parts(self)
        add_adapters(self, adapters)
        freeze(self, frozen, trainable)
        self.pretrained = pretrained
        self.view_head = MODELS.build(view_head) if view_head else None

    @property
    def sees(self) -> str:
        """Whether the result of a frame depends on others of its clip: "clip", else "frame"."""
        return contracts.sees(self)

    def see_view(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Tell the view of images, each by itself; for a model with a view head.

        Args:
            images: (N, C, H, W), scaled as in training.

        Returns:
            Logits (N, V) of its views, and how strange each image is (N,), as `ViewHead` says.
        """
        return self.view_head(self.encode(images).maps)

    def init_weights(self) -> None:
        """Initialise new layers, then load the weights that the config starts from."""
        super().init_weights()
        if self.pretrained:
            initialise(self, self.pretrained)

    def train(self, mode: bool = True) -> ClipSegmentorMixin:
        """Set the mode, but hold the running statistics of frozen batch norms."""
        super().train(mode)
        hold_frozen_statistics(self)
        return self

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses; what is logged is their mean over the processes.

        Returns:
            The sum to differentiate, and the values to log.
        """
        loss, log_vars = super().parse_losses(losses)
        log_vars = {name: value.detach().clone() for name, value in log_vars.items()}
        all_reduce_dict(log_vars, op="mean")
        return loss, log_vars


def summed(losses: dict[str, Tensor]) -> Tensor:
    """Sum what training minimises, leaving out accuracies, in this process alone."""
    return sum(value.mean() for name, value in losses.items() if "loss" in name)


def frames_of(clips: Tensor) -> Tensor:
    """Fold time into the batch: (B, T, C, H, W) to (B * T, C, H, W), frames fastest."""
    return clips.flatten(0, 1)  # (B, T, C, H, W) -> (B * T, C, H, W)


def has_labels(sample: BaseDataElement) -> bool:
    """Whether any structure of any frame of a sample has a reference."""
    return "gt_labels" in sample and ("labelled" not in sample or bool(sample.labelled.any()))


def labels_of(samples: Sequence, size: tuple[int, int]) -> Tensor:
    """Collect the label maps of a batch at a given size.

    Args:
        samples: B data samples with ``gt_labels`` (T, H, W).
        size: (h, w) to resample to, nearest neighbour.

    Returns:
        Label maps (B * T, h, w) uint8.
    """
    labels = torch.cat([sample.gt_labels for sample in samples])  # (B * T, H, W)
    if labels.shape[-2:] == tuple(size):
        return labels
    return nn.functional.interpolate(labels[:, None], size=size, mode="nearest-exact")[:, 0]


def labelled_of(samples: Sequence, num_structures: int) -> Tensor:
    """Collect which structures of which frames of a batch have a reference.

    Args:
        samples: B data samples with ``gt_labels`` (T, H, W); one without ``labelled`` (T, K) has
            references of all.
        num_structures: K.

    Returns:
        (B * T, K) bool.
    """
    return torch.cat(
        [
            sample.labelled
            if "labelled" in sample
            else sample.gt_labels.new_ones(
                (len(sample.gt_labels), num_structures), dtype=torch.bool
            )
            for sample in samples
        ]
    )
