"""What a clip costs whose masks do not move as its pictures do: few labels teach every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.layers.flow import FlowHead, carried
from echozoo.models.losses.clas import squared_dice_loss
from echozoo.models.prompts import Features
from echozoo.registry import MODELS
from echozoo.structures import EchoDataSample

_WINDOW = 9  # pixels, of the local correlation


@MODELS.register_module()
class WarpConsistency(nn.Module):
    """Motion learnt from the pictures of a clip, and masks that follow it (CLAS).

    H. Wei et al., "Temporal-consistent segmentation of echocardiography with co-learning from
    appearance and shape", MICCAI 2020. A flow head on a map of the encoder, whichever that is,
    learns three things, each way through the clip:

    - ``loss_ota``: a frame carried along the motion looks like its neighbour (squared local
      correlation of 9 x 9 pixels), and the motion is smooth;
    - ``loss_sgs``: the masks of the frames between two labelled ones are the labels of either,
      carried there;
    - ``loss_ots``: the labels of one, carried all the way, are those of the other.

    A film loss, see `FilmLosses`. The two labelled frames are the clip's first and last
    whose labels are whole; a clip with fewer has the first loss alone, and one of a single frame
    none.

    Args:
        in_channels: Of the map.
        level: Which of the encoder's maps; the last is what a decoder reads.
        appearance: Weight of ``loss_ota``; 0 leaves it out.
        smooth: Weight of smoothness in it.
        shape: Weight of ``loss_sgs``.
        ends: Weight of ``loss_ots``.
        start_epoch: When the last two begin: before, the motion is none.

    Raises:
        ConfigError: A weight below 0.
    """

    def __init__(
        self,
        in_channels: int,
        level: int = -1,
        appearance: float = 1.0,
        smooth: float = 10.0,
        shape: float = 0.2,
        ends: float = 0.4,
        start_epoch: int = 10,
    ) -> None:
        super().__init__()
        if min(appearance, smooth, shape, ends) < 0:
            raise ConfigError(
                f"WarpConsistency: found weights {(appearance, smooth, shape, ends)}, wants 0 or"
                " more"
            )
        self.flow = FlowHead(in_channels)
        self.level, self.start_epoch = level, start_epoch
        self.appearance, self.smooth, self.shape, self.ends = appearance, smooth, shape, ends

    def forward(
        self, probabilities: Tensor, samples: Sequence[EchoDataSample], features: Features
    ) -> dict[str, Tensor]:
        """Compute the losses of B clips.

        Args:
            probabilities: (B, T, K, h, w) in [0, 1].
            samples: With ``gt_labels`` (T, H, W), and ``labelled`` (T, K) where some have none.
            features: Of the B * T frames, with their images.

        Returns:
            ``loss_ota``, ``loss_sgs``, ``loss_ots``: scalars, already weighted.
        """
        size = tuple(probabilities.shape[-2:])
        maps = features.maps[self.level].unflatten(0, probabilities.shape[:2])  # B, T, C, h', w'
        if maps.shape[1] == 1:
            nothing = 0 * maps.sum() + 0 * sum(p.sum() for p in self.flow.parameters())
            return {"loss_ota": nothing, "loss_sgs": nothing, "loss_ots": nothing}
        grids = self.flow(maps, size)  # two of (B, T - 1, h, w, 2)
        images = F.interpolate(features.images.float(), size, mode="area")
        images = images.mean(1, keepdim=True).unflatten(0, maps.shape[:2])  # B, T, 1, h, w
        found = {"loss_ota": self.appearance * self._appearance(images, *grids)}
        sgs, ots = self._shapes(probabilities, samples, *grids)
        begun = MessageHub.get_current_instance().get_info("epoch", 0) >= self.start_epoch
        found["loss_sgs"] = (self.shape if begun else 0) * sgs
        found["loss_ots"] = (self.ends if begun else 0) * ots
        return found

    def _appearance(self, images: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        """How unlike its neighbour each frame is, carried there, and how rough the motion is."""
        before, after = images[:, :-1].flatten(0, 1), images[:, 1:].flatten(0, 1)
        forward, backward = forward.flatten(0, 1), backward.flatten(0, 1)
        ways = ((before, forward, after), (after, backward, before))
        costs = [
            self.smooth * roughness(grids) - correlation(carried(image, grids), neighbour)
            for image, grids, neighbour in ways
        ]
        return sum(costs) / 2

    def _shapes(
        self,
        probabilities: Tensor,
        samples: Sequence[EchoDataSample],
        forward: Tensor,
        backward: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Means over clips and ways of the losses of inner frames, and of the far ends."""
        inner: list[Tensor] = []
        far: list[Tensor] = []
        for clip, sample, ahead, back in zip(
            probabilities.float(), samples, forward, backward, strict=True
        ):
            first, last = labelled_ends(sample)
            if first == last:
                continue
            background = (1 - clip.sum(1, keepdim=True)).clamp(min=0)
            clip = torch.cat([background, clip], 1)  # T, K + 1, h, w
            labels = _one_hot(sample.gt_labels[[first, last]], clip)  # 2, K + 1, h, w
            chains = (
                (labels[0], labels[1], range(first, last), ahead, 1),
                (labels[1], labels[0], range(last - 1, first - 1, -1), back, 0),
            )
            for mask, other, steps, grids, offset in chains:
                *between, end = _chain(mask, grids, steps)
                far.append(squared_dice_loss(end, other[None]))
                if between:
                    frames = [step + offset for step in steps][:-1]
                    inner.append(squared_dice_loss(_pile(clip[frames]), _pile(torch.cat(between))))
        nothing = 0 * forward.sum() + 0 * backward.sum()
        return tuple(torch.stack(one).mean() if one else nothing for one in (inner, far))


def labelled_ends(sample: EchoDataSample) -> tuple[int, int]:
    """The first and the last frame whose labels are whole; (0, 0) where there is none."""
    if "labelled" not in sample:
        return 0, len(sample.gt_labels) - 1
    whole = sample.labelled.all(1).nonzero()[:, 0].tolist()
    return (whole[0], whole[-1]) if whole else (0, 0)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared correlation of images (N, 1, H, W) within windows of 9 x 9 pixels."""
    window = a.new_ones(1, 1, _WINDOW, _WINDOW)
    sums = [
        F.conv2d(x, window, padding=_WINDOW // 2) for x in (a, b, a.square(), b.square(), a * b)
    ]
    a_sum, b_sum, aa, bb, ab = sums
    count = _WINDOW**2
    both = ab - a_sum * b_sum / count
    a_var, b_var = aa - a_sum.square() / count, bb - b_sum.square() / count
    return (both.square() / (a_var * b_var + 1e-5)).mean()


def roughness(grids: Tensor) -> Tensor:
    """Mean square of the steps from pixel to pixel of grids (N, H, W, 2), identity's included."""
    down, across = grids.diff(dim=1), grids.diff(dim=2)
    return (down.square().mean() + across.square().mean()) / 2


def _chain(mask: Tensor, grids: Tensor, steps: Sequence[int]) -> Iterator[Tensor]:
    """A mask (C, H, W) carried along step after step of grids (T - 1, H, W, 2): (1, C, H, W)."""
    carried_on = mask[None]
    for step in steps:
        carried_on = carried(carried_on, grids[step][None])
        yield carried_on


def _pile(frames: Tensor) -> Tensor:
    """Frames (T, C, H, W) below each other, one image (1, C, T * H, W): one Dice over all."""
    return frames.transpose(0, 1).flatten(1, 2)[None]


def _one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Label maps (N, H, W) as masks (N, K + 1, h, w) of the size and number of ``like``'s."""
    masks = F.one_hot(labels.long(), like.shape[1]).movedim(-1, 1).to(like.dtype)
    return (
        masks
        if masks.shape[-2:] == like.shape[-2:]
        else F.interpolate(masks, like.shape[-2:], mode="area")
    )
