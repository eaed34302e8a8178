"""LoRA: a change of low rank beside the weight of a linear layer (arXiv 2106.09685)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.registry import ADAPTERS


@ADAPTERS.register_module()
class LoRA(nn.Linear):
    """``W x + alpha / rank * B A x``; B starts at zero, so that the layer starts as it was.

    Args:
        layer: The linear layer; its weight and bias are taken over, under their names.
        rank: Of the change.
        alpha: What the change is multiplied by, times the rank; None is the rank.
        dropout: Of the input of A, in training.
        of: Equal parts of the outputs, each with a change of its own; a fused ``qkv`` has 3.
        parts: Those that are changed, from 0: ``of=3, parts=(0, 2)`` leaves the keys alone, as
            SAMed does (arXiv 2304.13785). None is all.

    Raises:
        ConfigError: Numbers that do not fit the layer.
    """

    replaces = nn.Linear

    def __init__(
        self,
        layer: nn.Linear,
        rank: int = 4,
        alpha: float | None = None,
        dropout: float = 0.0,
        of: int = 1,
        parts: Sequence[int] | None = None,
    ) -> None:
        inputs, outputs = layer.in_features, layer.out_features
        super().__init__(inputs, outputs, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.parts = tuple(range(of) if parts is None else parts)
        if rank < 1 or outputs % of or not self.parts or not set(self.parts) <= set(range(of)):
            raise ConfigError(
                f"LoRA: found rank={rank}, of={of}, parts={self.parts}, wants a rank above 0, a "
                f"divisor of the layer's {outputs} outputs, and some of its parts, from 0"
            )
        self.rank, self.rows, self.scale = rank, outputs // of, (alpha or rank) / rank
        self.dropout = nn.Dropout(dropout)
        like = dict(bias=False, device=layer.weight.device, dtype=layer.weight.dtype)
        self.lora_a = nn.Linear(inputs, rank * len(self.parts), **like)
        self.lora_b = nn.ModuleList(nn.Linear(rank, self.rows, **like) for _ in self.parts)
        for up in self.lora_b:
            nn.init.zeros_(up.weight)

    def adapter_names(self) -> tuple[str, ...]:
        """Name the submodules whose parameters are this adapter's own."""
        return ("lora_a", "lora_b")

    def published_at(self, name: str, index: int) -> dict[str, str]:
        """SAMed's keys: of its models, and of the numbered matrices that its files have."""
        at, parts = re.escape(name), len(self.parts)
        claims = {rf"{at}\.qkv\.": ""}
        for i, part in enumerate(self.parts):
            number = f"{index * parts + i:03}$"
            claims |= {rf"{at}\.linear_{ab}_{'qkv'[part]}\.": f"lora_{ab}.{i}." for ab in "ab"}
            claims |= {f"w_{ab}_{number}": f"lora_{ab}.{i}.weight" for ab in "ab"}
        return claims

    def fit_published(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Stack A of several parts, which published files have apart."""
        fitted = dict(weights)
        rows = [fitted.pop(f"lora_a.{i}.weight", None) for i in range(len(self.parts))]
        rows = [one for one in rows if one is not None]
        return fitted | ({"lora_a.weight": torch.cat(rows)} if rows else {})

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        pieces = list(super().forward(x).split(self.rows, -1))
        low = self.lora_a(self.dropout(x)).split(self.rank, -1)
        for part, up, some in zip(self.parts, self.lora_b, low, strict=True):
            pieces[part] = torch.add(pieces[part], up(some), alpha=self.scale)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, -1)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """Give a linear layer that does the same in evaluation; this one stays as it is."""
        layer = nn.Linear(self.in_features, self.out_features, device="meta").train(self.training)
        weight = self.weight.clone()
        for part, up, down in zip(
            self.parts, self.lora_b, self.lora_a.weight.split(self.rank), strict=True
        ):
            weight.narrow(0, part * self.rows, self.rows).addmm_(up.weight, down, alpha=self.scale)
        layer.weight = nn.Parameter(weight, self.weight.requires_grad)
        layer.bias = self.bias
        return layer
