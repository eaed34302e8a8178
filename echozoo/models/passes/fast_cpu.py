"""What is only about this processor, put on a model from outside and taken off again.

Layers change their class and nothing else: parameters, their names, hooks and copies stay as they
are. A layer of a class of one's own gets a class between its own and torch's, so that its
``forward`` runs and its ``super().forward`` is quicker.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from echozoo.models.layers.derived import Derived
from echozoo.models.layers.norm import SyncBN
from echozoo.models.passes import onednn, winograd

# With fewer channels in, the transforms cost what the products save.
_WINOGRAD_CHANNELS = 128


class FastLinear(nn.Linear):
    """A linear layer; its products are oneDNN's on a CPU with AVX-512, in single precision."""

    plain = nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        if not self.by_onednn(x):
            return super().forward(x)
        return onednn.linear(x, self.weight, self.bias)

    def by_onednn(self, x: Tensor) -> bool:
        """Whether oneDNN multiplies; what does not fit is torch's, which says so better."""
        fits = x.shape[-1] == self.in_features
        return fits and onednn.takes(x) and onednn.multiplies_quicker()


class FastConv2d(nn.Conv2d):
    """A convolution; by Winograd where its channels are many, and without gradients by oneDNN."""

    plain = nn.Conv2d

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.by_winograd(x):
            filters = None
            if not (torch.is_grad_enabled() and weight.requires_grad):
                filters = self.kept()([weight], lambda: winograd.all_filters(weight))
            return winograd.convolve(x, weight, filters)
        if self.by_onednn(x):
            return onednn.convolve_without_gradient(x, self, weight, bias)
        return super()._conv_forward(x, weight, bias)

    def kept(self) -> Derived:
        """The place for what follows from the weights."""
        return self.__dict__.setdefault("_kept", Derived())

    def train(self, mode: bool = True) -> nn.Module:
        """Change the mode; what was derived from the weights is forgotten."""
        self.kept().forget()
        return super().train(mode)

    def by_winograd(self, x: Tensor) -> bool:
        """Whether this is a 3 x 3 convolution of (N, C, H, W) that takes fewer products so."""
        how = (self.kernel_size, self.stride, self.padding, self.dilation, self.groups)
        return (
            onednn.takes(x)
            and how == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
            and (self.padding_mode, self.bias) == ("zeros", None)
            and self.in_channels >= _WINOGRAD_CHANNELS
            and x.dim() == 4
            and x.shape[-2] % 2 == x.shape[-1] % 2 == 0
        )

    def by_onednn(self, x: Tensor) -> bool:
        """Whether oneDNN is asked for (N, C, H, W) without torch's choice between ways."""
        padded = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        gradient = onednn.wants_gradient(x, *self.parameters())
        return onednn.takes(x) and padded and x.dim() == 4 and not gradient


class FastSequential(nn.Sequential):
    """Layers of which some are computed together where no gradient is wanted.

    A GELU comes with the linear layer or the convolution before it, and a batch norm that does
    not change is in the weights of the convolution before it.
    """

    plain = nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        """Apply one layer after the other."""
        if not onednn.takes(x) or onednn.wants_gradient(x, *self.parameters()):
            return super().forward(x)
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if _is_bare(layer, FastLinear) and layer.by_onednn(x):
                gelu = _pop(layers, _is_gelu)
                x = onednn.linear_without_gradient(x, layer.weight, layer.bias, gelu)
            elif _is_bare(layer, FastConv2d) and layer.by_onednn(x) and _next(layers, _is_still):
                weight, bias = _folded(layer, layers.pop(0))
                gelu = _pop(layers, _is_gelu)
                x = onednn.convolve_without_gradient(x, layer, weight, bias, gelu)
            else:
                x = layer(x)
        return x


def make_fast(model: nn.Module) -> nn.Module:
    """Give the layers of a model, in place, the classes that are quicker on a CPU.

    Outputs, gradients and the keys of checkpoints stay; on other devices, in other precisions,
    and where they are compiled or exported the layers are torch's.
    """
    for module in model.modules():
        module.__class__ = _fast_class(type(module))
    return model


def make_plain(model: nn.Module) -> nn.Module:
    """Take back what `make_fast` did, in place."""
    for module in model.modules():
        if isinstance(module, _KINDS):
            module.__class__ = plain_class(module)
            module.__dict__.pop("_kept", None)
    return model


def plain_class(module: nn.Module) -> type[nn.Module]:
    """Give the class that a module has without this pass."""
    return type(module).plain if isinstance(module, _KINDS) else type(module)


def use_fast_cpu(model: nn.Module) -> None:
    """Apply `make_fast` to a model that is on a CPU, and say so in one line of the log."""
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return
    make_fast(model)
    linear, convolutions, rows = (
        sum(isinstance(module, kind) for module in model.modules()) for kind in _KINDS
    )
    if not linear + convolutions + rows:
        return
    print_log(
        f"fast_cpu: {linear} linear layers, {convolutions} convolutions and {rows} rows of layers "
        "computed in this processor's way; --no-fast-cpu leaves them to torch",
        logger="current",
    )


_KINDS = (FastLinear, FastConv2d, FastSequential)


@functools.cache
def _fast_class(kind: type[nn.Module]) -> type[nn.Module]:
    for fast in _KINDS:
        if kind is fast.plain:
            return fast
        if issubclass(kind, fast.plain) and not issubclass(kind, fast):
            return type(f"Fast{kind.__name__}", (kind, fast), {"plain": kind})
    return kind


def _next(layers: list[nn.Module], is_wanted: Callable[[nn.Module], bool]) -> bool:
    return bool(layers) and is_wanted(layers[0])


def _pop(layers: list[nn.Module], is_wanted: Callable[[nn.Module], bool]) -> bool:
    """Take the first of some layers away where it is what is wanted; say whether it was."""
    wanted = _next(layers, is_wanted)
    if wanted:
        layers.pop(0)
    return wanted


def _is_bare(layer: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a layer is of a class and no subclass, and nobody listens to it."""
    return type(layer) in kinds and not (layer._forward_hooks or layer._forward_pre_hooks)


def _is_gelu(layer: nn.Module) -> bool:
    return _is_bare(layer, nn.GELU) and layer.approximate == "none"


def _is_still(layer: nn.Module) -> bool:
    """Whether a layer is a batch norm whose statistics do not follow the data."""
    still = not layer.training and getattr(layer, "running_mean", None) is not None
    return still and _is_bare(layer, nn.BatchNorm2d, SyncBN)


def _folded(layer: FastConv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and the batch norm after it together."""

    def fold() -> tuple[Tensor, Tensor]:
        return fuse_conv_bn_weights(
            *(layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps),
            *(norm.weight, norm.bias),
        )

    sources = [*layer.parameters(), *norm.parameters(), norm.running_mean, norm.running_var]
    return layer.kept()(sources, fold)
