"""Dynamic int8 quantisation of linear layers, for inference on the CPU.

Weights are 8-bit integers with a scale for each output, activations 8-bit integers with a scale
for each token, found as they come; products are summed in 32 bits by oneDNN.
"""

from __future__ import annotations

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from echozoo.errors import ConfigError
from echozoo.models.passes.adapting import merge_adapters
from echozoo.models.passes.fast_cpu import plain_class
from echozoo.models.passes.patterns import replace_module

# CPUs without VNNI add two products in 16 bits: 2 * 255 * 64 is the most that fits, so weights
# give up a bit. Activations, which vary more, keep all of theirs.
_WEIGHT_STEPS = 63
_INPUT_STEPS = 127  # on each side of zero
_ZERO = 128  # as oneDNN wants activations without a sign
_SHOWN = 4  # layers in a message
_SMALLEST = 1e-30  # rows of zeros have a scale too


class Int8Linear(nn.Module):
    """What a linear layer computes, in 8-bit integers and in evaluation only.

    A token's output depends on that token alone, so batches may be cut anywhere.

    Args:
        linear: The layer, in float32 on the CPU; it is not changed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()  # (out, in)
        scale = weight.abs().amax(dim=1).clamp_min(_SMALLEST) / _WEIGHT_STEPS  # (out,)
        integers = (weight / scale[:, None]).round().to(torch.int8)
        # None of these is saved: a checkpoint is of the float model.
        packed = torch.ops.onednn.qlinear_prepack(integers, None)
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        no_offset = torch.zeros(self.out_features, dtype=torch.int64)
        self.register_buffer("no_offset", no_offset, persistent=False)
        bias = torch.zeros(self.out_features) if linear.bias is None else linear.bias.detach()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out), float32, without gradients."""
        tokens = x.detach().reshape(-1, self.in_features)
        low, high = tokens.aminmax(dim=1, keepdim=True)
        step = torch.maximum(-low, high).clamp_min_(_SMALLEST).div_(_INPUT_STEPS)  # (N, 1)
        signed = tokens.div(step).round_().to(torch.int8)
        # Flipping the highest bit adds 128. To uint8 torch converts one number at a time.
        unsigned = signed.view(torch.uint8).bitwise_xor_(_ZERO)
        out = torch.ops.onednn.qlinear_pointwise(
            *(unsigned, 1.0, _ZERO, self.packed, self.scale, self.no_offset, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        torch.addcmul(self.bias, out, step, out=out)  # a second large tensor costs page faults
        return out.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Sizes, as those of a linear layer."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def quantize_linear(model: nn.Module) -> nn.Module:
    """Quantise the linear layers of a segmentor's image encoder.

    There is where the time goes: what decodes sees a few tokens, and stays as it is, as do
    convolutions. Adapters are merged into their layers before.

    Args:
        model: In evaluation mode and on the CPU; its layers are replaced in place.

    Returns:
        The same model. It neither trains nor moves to another device.

    Raises:
        ConfigError: The model trains, is elsewhere, or has no such layers; or torch lacks oneDNN.
    """
    name = type(model).__name__
    if model.training:
        raise ConfigError(f"int8: {name} is in training mode; int8 is for inference, after eval()")
    device = next(model.parameters()).device
    if device.type != "cpu":
        raise ConfigError(f"int8: {name} is on {device}; int8 runs on the CPU")
    if not torch.backends.mkldnn.is_available():
        raise ConfigError("int8: this build of torch has no oneDNN; leave int8 out")
    merge_adapters(model.backbone)
    layers = {
        name: module
        for name, module in model.backbone.named_modules()
        if isinstance(module, nn.Linear)
    }
    if not layers:
        raise ConfigError(
            f"int8: {type(model.backbone).__name__} has no linear layers, and convolutions stay as"
            " they are; leave int8 out"
        )
    # Subclasses do something of their own, or are read inside, as torch's attention does.
    floats = [name for name, layer in layers.items() if plain_class(layer) is not nn.Linear]
    if floats:
        print_log(
            f"int8: {len(floats)} layers stay in float32, being no plain nn.Linear: "
            f"{', '.join(floats[:_SHOWN])}{', ...' if len(floats) > _SHOWN else ''}",
            logger="current",
        )
    for name in layers.keys() - set(floats):
        replace_module(model.backbone, name, Int8Linear(layers[name]))
    return model
