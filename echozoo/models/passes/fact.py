"""FacT: a change of low rank whose outer factors all layers share (arXiv 2212.03145)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import ADAPTERS


@ADAPTERS.register_module()
class FacT(nn.Linear):
    """``W x + scale * V M U x``: M is the layer's own; U and V are those of all layers together.

    V starts at zero, so that the layer starts as it was. The first layer of a config holds U and V.

    Args:
        layer: The linear layer; its weight and bias are taken over, under their names.
        rank: Of the change.
        scale: What the change is multiplied by.
        dropout: Behind M, in training.
        of: Equal parts of the outputs; a fused ``qkv`` has 3.
        parts: Those that are changed, from 0, each with an M of its own: ``of=3, parts=(0, 2)``
            leaves the keys alone, as MA-SAM does (arXiv 2309.08842). None is all.
        first: What has U and V; None makes them.

    Raises:
        ConfigError: Numbers that do not fit the layer, or the first one's layer.
    """

    replaces = nn.Linear
    shares = True

    def __init__(
        self,
        layer: nn.Linear,
        rank: int = 32,
        scale: float = 1.0,
        dropout: float = 0.1,
        of: int = 1,
        parts: Sequence[int] | None = None,
        first: FacT | None = None,
    ) -> None:
        inputs, outputs = layer.in_features, layer.out_features
        super().__init__(inputs, outputs, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.parts = tuple(range(of) if parts is None else parts)
        if rank < 1 or outputs % of or not self.parts or not set(self.parts) <= set(range(of)):
            raise ConfigError(
                f"FacT: found rank={rank}, of={of}, parts={self.parts}, wants a rank above 0, a "
                f"divisor of the layer's {outputs} outputs, and some of its parts, from 0"
            )
        self.rows, self.scale = outputs // of, scale
        self.dropout = nn.Dropout(dropout)
        like = dict(bias=False, device=layer.weight.device, dtype=layer.weight.dtype)
        self.fact_m = nn.ModuleList(nn.Linear(rank, rank, **like) for _ in self.parts)
        if first is None:
            self.fact_u = nn.Linear(inputs, rank, **like)
            self.fact_v = nn.Linear(rank, self.rows, **like)
            nn.init.zeros_(self.fact_v.weight)
        elif (first.in_features, first.rows) != (inputs, self.rows):
            raise ConfigError(
                f"FacT: found layers of {inputs} to {self.rows} and of {first.in_features} to "
                f"{first.rows} channels, wants equal ones to share factors; make at=... narrower"
            )
        # In a tuple it is no submodule: the factors appear once in a state dict.
        self._first = () if first is None else (first,)

    def adapter_names(self) -> tuple[str, ...]:
        """Name the submodules whose parameters are this adapter's own."""
        return ("fact_m",) if self._first else ("fact_m", "fact_u", "fact_v")

    def published_at(self, name: str, index: int) -> dict[str, str]:
        """MA-SAM's keys: of its models, and of the numbered matrices of its files."""
        at, owner = re.escape(name), name.split(".")[0]
        claims = {rf"{at}\.qkv\.": ""}
        for i, which in enumerate("qkv"[part] for part in self.parts):
            claims |= {rf"{at}\.{which}_FacTs\.": f"fact_m.{i}."}
            claims |= {rf"{which}_FacTs_{index:03}$": f"fact_m.{i}.weight"}
        shared = {rf"({owner}\.)?FacT{one}\.": f"fact_{one}." for one in "uv"}
        return claims if self._first else claims | shared

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        pieces = list(super().forward(x).split(self.rows, -1))
        down, up = self._factors()
        low = down(x)
        for part, own in zip(self.parts, self.fact_m, strict=True):
            pieces[part] = torch.add(pieces[part], up(self.dropout(own(low))), alpha=self.scale)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, -1)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """Give a linear layer that does the same in evaluation; this one stays as it is."""
        layer = nn.Linear(self.in_features, self.out_features, device="meta").train(self.training)
        weight = self.weight.clone()
        down, up = self._factors()
        for part, own in zip(self.parts, self.fact_m, strict=True):
            change = up.weight @ own.weight @ down.weight
            weight.narrow(0, part * self.rows, self.rows).add_(change, alpha=self.scale)
        layer.weight = nn.Parameter(weight, self.weight.requires_grad)
        layer.bias = self.bias
        return layer

    def _factors(self) -> tuple[nn.Linear, nn.Linear]:
        holder = self._first[0] if self._first else self
        return holder.fact_u, holder.fact_v
