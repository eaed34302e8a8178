"""GatedConv: the adapter of SAM-Med2D (arXiv 2308.16184), beside a block's MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.layers.mlp import MLP
from echozoo.registry import ADAPTERS


@ADAPTERS.register_module()
class GatedConv(MLP):
    """``mlp(x) + norm(x + r(up(r(down(g * x)))))`` on the whole grid of tokens, r a ReLU.

    The gate g is one number a channel, from the mean over the grid; ``down`` halves the grid and
    ``up`` doubles it. The norm's scale starts at 1, as published: the block is not SAM's then.

    Args:
        layer: A block's MLP; its layers are taken over, under their names.
        ratio: Width inside the gate as a part of the channels.
    """

    replaces = MLP

    def __init__(self, layer: MLP, ratio: float = 0.25) -> None:
        weight = layer.lin1.weight
        channels, hidden = layer.lin1.in_features, layer.lin1.out_features
        with torch.device("meta"):
            super().__init__(channels, hidden)
        self.lin1, self.act, self.lin2 = layer.lin1, layer.act, layer.lin2
        like = dict(device=weight.device, dtype=weight.dtype)
        inner = int(channels * ratio)
        self.gate = nn.Sequential(
            nn.Linear(channels, inner, bias=False, **like),
            nn.ReLU(),
            nn.Linear(inner, channels, bias=False, **like),
            nn.Sigmoid(),
        )
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False, **like)
        self.up = nn.ConvTranspose2d(channels, channels, 4, 2, 1, bias=False, **like)
        self.norm = nn.LayerNorm(channels, **like)
        for convolution in (self.down, self.up):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out")

    def adapter_names(self) -> tuple[str, ...]:
        """Name the submodules whose parameters are this adapter's own."""
        return ("gate", "down", "up", "norm")

    def published_at(self, name: str, index: int) -> dict[str, str]:
        """SAM-Med2D's keys."""
        block = rf"{name.rpartition('.')[0]}\.Adapter\."
        names = {"norm": "norm", r"channel\.0": "gate.0", r"channel\.2": "gate.2"}
        names |= {r"spatial\.0": "down", r"spatial\.2": "up"}
        return {rf"{block}{theirs}\.": f"{ours}." for theirs, ours in names.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, H, W, C) to (N, H, W, C); H and W are even.

        Raises:
            ConfigError: The grid has an odd side.
        """
        return self.lin2(self.act(self.lin1(x))) + self.adapt(x)

    def adapt(self, x: Tensor) -> Tensor:
        """What is added to the MLP's output, (N, H, W, C)."""
        if x.shape[1] % 2 or x.shape[2] % 2:
            raise ConfigError(
                f"GatedConv: found a grid of {x.shape[1]} x {x.shape[2]} tokens, wants even sides; "
                "resize the input to a multiple of twice the patch stride"
            )
        gated = x * self.gate(x.mean((1, 2), keepdim=True))
        low = self.down(gated.permute(0, 3, 1, 2)).relu()  # N, C, H / 2, W / 2
        return self.norm(x + self.up(low).relu().permute(0, 2, 3, 1))
