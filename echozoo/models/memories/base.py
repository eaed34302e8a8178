"""What memories of earlier frames share: keys, values of masks, the prompt, the senses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echozoo.models.layers.fusion import FusionBlock, SensoryUpdate, with_structures
from echozoo.models.memories.value_encoders import FusedValueEncoder, PairValueEncoder
from echozoo.models.prompts import Features

State = TypeVar("State", bound=Any)
"""A dataclass with ``sensory`` (B, K, C, h, w) or None; see `echozoo.models.memories.state`."""


class FusedMemory(nn.Module):
    """A memory whose read-out is fused with the features into the decoder's prompt.

    Args:
        embed_dims: Channels of the image encoder's last map.
        key_dims: Channels of the keys.
        value_dims: Channels of the values.
        value_encoder: Settings of `FusedValueEncoder`; with ``pair=True`` of `PairValueEncoder`,
            where each structure has keys of its own (STM).
        query_dims: Channels of the frame's own value, which stands beside what is read (STM,
            STCN); 0 fuses the features themselves with it.
        prompt_dims: Channels of the fused prompt.
        prompt_hidden: Channels inside the fusion.
        sensory_dims: Channels of the sensory state (XMem); 0 is without.
        sensory_maps: Channels of the decoder's maps at strides 16, 8 and 4, from which the
            sensory state follows each frame; None: it follows the prompt (MemSAM).
    """

    def __init__(
        self,
        embed_dims: int = 256,
        key_dims: int = 64,
        value_dims: int = 256,
        value_encoder: Mapping | None = None,
        query_dims: int = 0,
        prompt_dims: int = 256,
        prompt_hidden: int | None = None,
        sensory_dims: int = 0,
        sensory_maps: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.sensory_dims = sensory_dims
        self.key = key_conv(embed_dims, key_dims)
        nn.init.orthogonal_(self.key.weight)
        nn.init.zeros_(self.key.bias)

        settings = dict(value_encoder or {})
        self.has_pairs = settings.pop("pair", False)
        if self.has_pairs:
            self.value_encoder = PairValueEncoder(key_dims, value_dims, **settings)
        else:
            self.value_encoder = FusedValueEncoder(embed_dims, value_dims, **settings)

        self.query_value = key_conv(embed_dims, query_dims) if query_dims else None
        joined = embed_dims + value_dims + sensory_dims
        self.fuser = None if query_dims else FusionBlock(joined, prompt_dims, prompt_hidden)
        self.deep_update = self.update = self.map_convs = None
        if sensory_dims:
            self.deep_update = SensoryUpdate(value_dims, sensory_dims)
            width = prompt_dims
            if sensory_maps is not None:
                width = sensory_maps[-1]
                extra = (0, 0, 1)  # the finest with the logits
                self.map_convs = nn.ModuleList(
                    nn.Conv2d(channels + more, width, 1)
                    for channels, more in zip(sensory_maps, extra, strict=True)
                )
            self.update = SensoryUpdate(width, sensory_dims)

    def senses_before(self, batch: int, structures: int, like: Tensor) -> Tensor | None:
        """The sensory state before a film, (B, K, C, h, w) zeros; None for a memory without."""
        if not self.sensory_dims:
            return None
        return like.new_zeros((batch, structures, self.sensory_dims, *like.shape[-2:]))

    def follows(self, state: State, t: int) -> bool:
        """Whether the senses follow what the decoder saw in frame t."""
        return True

    def prompt(self, features: Features, readout: Tensor, state: State) -> tuple[Tensor, State]:
        """Make the decoder's dense prompt of what was read.

        Args:
            features: Of B frames.
            readout: (B, K, C, h, w).
            state: Of the films.

        Returns:
            (B, K, C', h, w), and the state, whose sensory part may have followed.
        """
        x, shape = features.embedding, readout.shape[:2]
        if self.query_value is not None:
            own = self.query_value(x).unsqueeze(1).expand(-1, shape[1], -1, -1, -1)
            return torch.cat([readout, own], 2), state
        maps = (readout,) if state.sensory is None else (readout, state.sensory)
        dense = self.fuser(with_structures(x, *maps)).unflatten(0, shape)
        if self.update is not None and self.map_convs is None:
            state = replace(state, sensory=self.update(dense, state.sensory))
        return dense, state

    def observe(self, state: State, t: int, maps: Sequence[Tensor]) -> State:
        """Let the sensory state follow what the decoder saw in frame t.

        Args:
            state: Of the films.
            t: Index of the frame.
            maps: (B, K, C, h, w) at strides 16, 8, 4, and the logits.
        """
        if self.map_convs is None or not self.follows(state, t):
            return state
        size, shape = maps[0].shape[-2:], maps[0].shape[:2]
        seen = [maps[0], maps[1], torch.cat(maps[2:4], 2)]
        small = [F.interpolate(one.flatten(0, 1), size, mode="area") for one in seen]
        x = sum(conv(one) for conv, one in zip(self.map_convs, small, strict=True))
        return replace(state, sensory=self.update(x.unflatten(0, shape), state.sensory))


def key_conv(in_channels: int, channels: int) -> nn.Conv2d:
    """What keys are made by: a convolution of 3 x 3."""
    return nn.Conv2d(in_channels, channels, 3, padding=1)
