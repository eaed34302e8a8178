"""What passes between the parts of a model: features of images, and prompts for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from echozoo.errors import ConfigError
from echozoo.structures import EchoDataSample

# What a data sample calls the tensors of a kind of prompt. Other kinds have their own name there.
_SAMPLE_FIELDS = {
    "points": {"points": "points", "labels": "point_labels"},
    "boxes": {"boxes": "boxes"},
    "masks": {"masks": "mask_prompts"},
}


@dataclass(frozen=True)
class Features:
    """What an image encoder made of N frames.

    Attributes:
        maps: Feature maps, each (N, C, h, w) of its own size; the last is what a decoder reads.
        num_frames: T: the N = B * T frames are those of B clips, a clip's following each other.
        images: What the encoder saw (N, C, H, W), for parts that look at the image themselves.
        extra: Tensors (N, ...) that a prompt head found on its way, by name, for the decoder and
            for the head's own loss.
    """

    maps: tuple[Tensor, ...]
    num_frames: int = 1
    images: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        x: Tensor | Sequence[Tensor] | Features,
        num_frames: int = 1,
        images: Tensor | None = None,
    ) -> Features:
        """Take what an encoder returns: one map (N, C, h, w), several of them, or features.

        Args:
            x: As it comes from an encoder.
            num_frames: T, where ``x`` does not say it.
            images: (N, C, H, W), where ``x`` has none.
        """
        if isinstance(x, Features):
            return x if x.images is not None else replace(x, images=images)
        return cls((x,) if isinstance(x, Tensor) else tuple(x), num_frames, images)

    @classmethod
    def joined(cls, frames: Sequence[Features]) -> Features:
        """The features of one clip, from those of its frames in their order."""
        first = frames[0]
        return cls(
            tuple(map(torch.cat, zip(*(one.maps for one in frames), strict=True))),
            sum(map(len, frames)),
            None if first.images is None else torch.cat([one.images for one in frames]),
            {name: torch.cat([one.extra[name] for one in frames]) for name in first.extra},
        )

    @property
    def embedding(self) -> Tensor:
        """The last map (N, C, h, w): what a decoder reads."""
        return self.maps[-1]

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width (h, w) of the last map."""
        return tuple(self.embedding.shape[-2:])

    @property
    def device(self) -> torch.device:
        """Where the maps are."""
        return self.embedding.device

    def __len__(self) -> int:
        return self.embedding.shape[0]

    def __getitem__(self, frames: slice | Sequence[int]) -> Features:
        """The features of some of the frames, in the order asked for, as clips of one frame."""
        return replace(self._mapped(lambda one: one[frames]), num_frames=1)

    def to(self, *args, **kwargs) -> Features:
        """Move and convert the maps and images, as a tensor's ``to`` does."""
        return self._mapped(lambda one: one.to(*args, **kwargs))

    def clone(self) -> Features:
        """A copy: a slice would keep the whole of what it is of in memory."""
        return self._mapped(Tensor.clone)

    def detached(self) -> Features:
        """The same, through which no gradient goes back."""
        return self._mapped(Tensor.detach)

    def replaced(self, embedding: Tensor) -> Features:
        """The same with another last map: (N, C, h, w), or one a structure (N, K, C, h, w)."""
        return replace(self, maps=(*self.maps[:-1], embedding))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Features:
        return replace(
            self,
            maps=tuple(map(change, self.maps)),
            images=None if self.images is None else change(self.images),
            extra={name: change(one) for name, one in self.extra.items()},
        )


@dataclass(frozen=True)
class Prompts:
    """Prompts for K structures in each of N frames; what is not given is None.

    Attributes:
        points: (N, K, P, 2), (x, y) in pixels of the network's input.
        labels: (N, K, P): 1 foreground, 0 background, -1 padding.
        boxes: (N, K, 4), (x1, y1, x2, y2) in pixels of the network's input.
        masks: (N, K, h, w), coarse masks as logits.
        text: A name or description of each of the K structures.
        structures: Which structures the K are, from 0; None is all of them in their order.
        extra: Tensors (N, K, ...) of kinds that only some prompt heads know, by kind.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None
    text: tuple[str, ...] | None = None
    structures: tuple[int, ...] | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.points is None) != (self.labels is None):
            raise ConfigError("prompts: found points or labels alone, wants points with labels")

    @property
    def kinds(self) -> frozenset[str]:
        """Which kinds are given, of "points", "boxes", "masks", "text" and those of ``extra``."""
        known = {
            kind for kind in ("points", "boxes", "masks", "text") if getattr(self, kind) is not None
        }
        return frozenset(known | set(self.extra))

    @property
    def batch(self) -> tuple[int, int]:
        """N and K.

        Raises:
            ConfigError: No tensor is given that would tell them.
        """
        for value in (self.points, self.boxes, self.masks, *self.extra.values()):
            if value is not None:
                return tuple(value.shape[:2])
        raise ConfigError("prompts: found none, wants points with labels, boxes or masks")

    def to(self, device: torch.device | str) -> Prompts:
        """Move all tensors to a device."""
        return self._mapped(lambda values: values[0].to(device), [self])

    def __getitem__(self, frames: slice) -> Prompts:
        """The prompts of some of the frames."""
        return self._mapped(lambda values: values[0][frames], [self])

    @classmethod
    def stack(cls, prompts: Sequence[Prompts]) -> Prompts:
        """Put the prompts of one frame after those of another; all have the same kinds.

        Args:
            prompts: At least one; of the same K structures, with equally many points.
        """
        return cls._mapped(torch.cat, prompts)

    @classmethod
    def of_samples(cls, samples: Sequence[EchoDataSample] | None, kinds: Iterable[str]) -> Prompts:
        """Collect the prompts that clips carry.

        Args:
            samples: B clips of T frames; N is B * T.
            kinds: Which kinds to take. A kind that is none of SAM's is the sample's tensor of that
                name, (T, K, ...). "text" is the names of the structures.

        Raises:
            ConfigError: A sample has no such prompt, or there are no samples.
        """
        given: dict = {"extra": {}}
        for kind in kinds:
            if kind == "text":
                given["text"] = tuple(samples[0].structures) if samples else None
            elif kind in _SAMPLE_FIELDS:
                for name, own in _SAMPLE_FIELDS[kind].items():
                    given[name] = _collect(own, samples)
            else:
                given["extra"][kind] = _collect(kind, samples)
        return cls(**given)

    @classmethod
    def _mapped(cls, change, prompts: Sequence[Prompts]) -> Prompts:
        first = prompts[0]
        tensors = {
            one.name: change([getattr(each, one.name) for each in prompts])
            for one in fields(cls)
            if isinstance(getattr(first, one.name), Tensor)
        }
        extra = {kind: change([each.extra[kind] for each in prompts]) for kind in first.extra}
        return replace(first, **tensors, extra=extra)


def has_kind(sample: EchoDataSample, kind: str) -> bool:
    """Whether a sample carries prompts of a kind."""
    return all(own in sample for own in _SAMPLE_FIELDS.get(kind, {kind: kind}).values())


def _collect(name: str, samples: Sequence[EchoDataSample] | None) -> Tensor:
    for sample in samples or ():
        if name not in sample:
            raise ConfigError(
                f"prompts: found no {name!r} in the sample of {sample.get('sequence', 'a clip')}, "
                "wants it as a prompt; add the transform that makes it or change the head's prompts"
            )
    if not samples:
        raise ConfigError(f"prompts: found no samples, wants {name!r} from them")
    return torch.cat([sample.get(name) for sample in samples])  # N, K, ...
