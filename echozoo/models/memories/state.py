"""What a memory knows at one moment of a film."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


class Movable:
    """A frozen dataclass of tensors, and of other such dataclasses, with the batch first."""

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Movable:
        """The same with every tensor changed."""
        changed = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Tensor):
                changed[one.name] = change(value)
            elif isinstance(value, Movable):
                changed[one.name] = value.mapped(change)
        return replace(self, **changed)

    def to(self, *args, **kwargs) -> Movable:
        """Move the tensors, as a tensor's ``to`` does."""
        return self.mapped(lambda value: value.to(*args, **kwargs))

    def detach(self) -> Movable:
        """The same, cut off from what gradients go back to."""
        return self.mapped(torch.Tensor.detach)

    def __getitem__(self, films: slice) -> Movable:
        """The state of some of the films of the batch."""
        return self.mapped(lambda value: value[films])

    def as_dict(self) -> dict:
        """Tensors and plain values alone, such as ``torch.save`` writes for ``weights_only``."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {k: v.as_dict() if isinstance(v, Movable) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping) -> Movable:
        """Make one of what `as_dict` gave; a class that holds other such classes overrides it."""
        return cls(**values)


@dataclass(frozen=True)
class Keys(Movable):
    """What frames are looked up by.

    Attributes:
        key: (N, C, h, w).
        shrinkage: (N, 1, h, w), how much a position counts once it is memorised.
        selection: (N, C, h, w) in [0, 1], how much a channel counts for a position that looks.
    """

    key: Tensor
    shrinkage: Tensor
    selection: Tensor


@dataclass(frozen=True)
class Bank(Movable):
    """Positions that were memorised, N of them for each of B films.

    Attributes:
        keys: (B, G, C, N); G is 1, or K where each structure has keys of its own.
        shrinkage: (B, G, 1, N), how much a position counts.
        selection: (B, G, C, N), how its frame weighed the channels.
        values: (B, K, C', N).
        use: (B, N), the attention that was paid to it so far.
        age: (B, N), how many times it was read.
    """

    keys: Tensor
    shrinkage: Tensor
    selection: Tensor
    values: Tensor
    use: Tensor
    age: Tensor

    def __len__(self) -> int:
        return self.keys.shape[-1]

    def part(self, start: int, stop: int | None = None) -> Bank:
        """Some of the positions."""
        return self.mapped(lambda value: value[..., start:stop])

    def chosen(self, places: Tensor) -> Bank:
        """Other positions for each film: ``places`` (B, n)."""

        def pick(value: Tensor) -> Tensor:
            index = places.view(len(places), *[1] * (value.dim() - 2), -1)
            return value.gather(-1, index.expand(*value.shape[:-1], -1))

        return self.mapped(pick)

    def joined(self, *others: Bank) -> Bank:
        """These positions, then those of the others."""
        if not others:
            return self
        banks = (self, *others)
        names = [one.name for one in fields(self)]
        return Bank(**{name: torch.cat([getattr(b, name) for b in banks], -1) for name in names})


@dataclass(frozen=True)
class SpaceTimeState(Movable):
    """The state of a `SpaceTimeMemory`.

    Attributes:
        structures: K.
        sensory: (B, K, C, h, w), what goes on from frame to frame; None for a memory without.
        permanent: Frames that a person marked; never consolidated.
        working: Frames in full, in the order of ``frames``.
        long_term: Prototypes of older frames.
        last: The frame before, where it is not among the working ones.
        frames: Indices of the working frames.
        permanent_frames: Indices of the permanent frames.
    """

    structures: int
    sensory: Tensor | None = None
    permanent: Bank | None = None
    working: Bank | None = None
    long_term: Bank | None = None
    last: Bank | None = None
    frames: tuple[int, ...] = ()
    permanent_frames: tuple[int, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping) -> SpaceTimeState:
        """Make a state of what `as_dict` gave."""
        return cls(**{k: Bank(**v) if isinstance(v, Mapping) else v for k, v in values.items()})

    def banks(self) -> list[tuple[str, Bank]]:
        """What is read, by name, in a fixed order."""
        names = ("permanent", "long_term", "working", "last")
        return [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]
