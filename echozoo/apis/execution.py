"""How a loaded model computes: where, in which precision, compiled or not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from echozoo.compilers import refuse_without_compiler
from echozoo.errors import ConfigError

_AMP = {True: torch.bfloat16, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_execution(
    device: torch.device, int8: bool, amp: str | bool | None, compile: bool
) -> torch.dtype | None:
    """Refuse options that do not go together.

    Args:
        device: Where the model is to compute.
        int8: Whether linear layers are to be quantised.
        amp: "bf16", which True means too, or "fp16"; None or False is single precision.
        compile: Whether the network is to be compiled.

    Returns:
        The type of mixed precision, None in single precision.

    Raises:
        ConfigError: Some are wrong, or what one of them needs is not there.
    """
    if amp and amp not in _AMP:
        raise ConfigError(f"amp={amp!r}: wanted bf16 or fp16")
    if amp == "fp16" and device.type == "cpu":
        raise ConfigError("amp=fp16 needs a GPU; bf16 runs on the CPU")
    if int8 and device.type != "cpu":
        raise ConfigError(f"int8 on {device}: dynamic quantisation runs on the CPU; device=cpu")
    if int8 and amp:
        raise ConfigError("int8 and amp: choose one of the two")
    if int8 and compile:
        raise ConfigError("int8 and compile: choose one of the two")
    if compile:
        refuse_without_compiler(device)
    return _AMP[amp] if amp else None


def place(
    model: nn.Module,
    device: torch.device,
    int8: bool,
    compile: bool,
    temporal: bool,
    fast_cpu: bool = True,
) -> None:
    """Bring a model to its device, and quantise or compile it, in place.

    Args:
        model: A segmentor in evaluation mode.
        device: Where it is to compute.
        int8: Whether to quantise the linear layers of its image encoder.
        compile: Whether to compile its image encoder; of a model without a prompt head, all that
            leads to its logits.
        temporal: Whether its image encoder lets the frames of a clip see each other.
        fast_cpu: Whether layers are computed in the CPU's own way, where it is the device.

    Raises:
        ConfigError: There is no such device, or nothing to quantise.
    """
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device}: {str(error).splitlines()[0]}") from error
    if int8:
        from echozoo.models.passes.int8 import quantize_linear

        quantize_linear(model)
    if fast_cpu:
        from echozoo.models.passes.fast_cpu import use_fast_cpu

        use_fast_cpu(model)
    if not compile:
        return
    if temporal:  # its clips have one length
        model.backbone.forward = torch.compile(model.backbone.forward, dynamic=False)
    elif not hasattr(model, "prompt_head"):
        decode = model.encode_decode
        logits = Filled(lambda images: decode(images, [{"img_shape": images.shape[-2:]}]))
        model.encode_decode = lambda images, metas: logits(images)
    else:
        encode = Filled(model.backbone.forward)
        model.backbone.forward = lambda images, num_frames=1: encode(images)


class Filled:
    """A function of images, compiled for one image and for the largest batch so far.

    Each size has to be compiled, which may take minutes, and code for any size fails to compile
    for some networks. So smaller batches, such as the last of a film, are filled up with copies
    of their last image.

    Args:
        function: Maps images (N, ...) to (N, ...), each by itself.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = torch.compile(function, dynamic=False)
        self._largest = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, ...) to (N, ...)."""
        count = len(images)
        self._largest = max(self._largest, count)
        missing = self._largest - count if count > 1 else 0
        if missing:
            images = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
        return self._function(images)[:count]
