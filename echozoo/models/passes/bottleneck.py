"""Bottlenecks behind or beside frozen layers, as of Medical SAM Adapter (arXiv 2304.12620)."""

from __future__ import annotations

from torch import Tensor, nn

from echozoo.models.layers.mlp import MLP, FeatureAdapter
from echozoo.registry import ADAPTERS


@ADAPTERS.register_module()
class SerialBottleneck(nn.Linear):
    """``y + up(GELU(down(y)))`` of what a linear layer gives: behind the attention's ``proj``.

    Args:
        layer: The linear layer; its weight and bias are taken over, under their names.
        ratio: Width of the bottleneck as a part of the layer's outputs.
    """

    replaces = nn.Linear

    def __init__(self, layer: nn.Linear, ratio: float = 0.25) -> None:
        super().__init__(
            layer.in_features, layer.out_features, layer.bias is not None, device="meta"
        )
        self.weight, self.bias = layer.weight, layer.bias
        with layer.weight.device:
            self.adapter = FeatureAdapter(layer.out_features, ratio)

    def adapter_names(self) -> tuple[str, ...]:
        """Name the submodule whose parameters are this adapter's own."""
        return ("adapter",)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        y = super().forward(x)
        return y + self.adapter(y)


@ADAPTERS.register_module()
class ParallelBottleneck(MLP):
    """``MLP(x) + scale * up(GELU(down(x)))``: beside the MLP of a block of SAM's encoder.

    Args:
        layer: The MLP; its layers are taken over, under their names.
        ratio: Width of the bottleneck as a part of the channels.
        scale: Of what the bottleneck adds.
    """

    replaces = MLP

    def __init__(self, layer: MLP, ratio: float = 0.25, scale: float = 0.5) -> None:
        nn.Sequential.__init__(self)
        self.lin1, self.act, self.lin2, self.scale = layer.lin1, layer.act, layer.lin2, scale
        with layer.lin1.weight.device:
            self.adapter = FeatureAdapter(layer.lin1.in_features, ratio)

    def adapter_names(self) -> tuple[str, ...]:
        """Name the submodule whose parameters are this adapter's own."""
        return ("adapter",)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.lin2(self.act(self.lin1(x))) + self.scale * self.adapter(x)
