"""This project's side: one forward pass, one training step."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from echozoo.benchmark.inputs import Batch
from echozoo.benchmark.setting import Setting, Variant
from echozoo.errors import ConfigError


def apply_variant(model: nn.Module, variant: Variant, device: str) -> nn.Module:
    """Compile or quantise a model, as the inference tools do.

    Args:
        model: The model, changed in place.
        variant: What is to be done.
        device: Where the model computes.

    Raises:
        ConfigError: int8 on a GPU.
    """
    if variant.int8:
        if torch.device(device).type != "cpu":
            raise ConfigError(f"--int8 runs on the CPU; found --device {device}")
        quantize_linear = importlib.import_module("echozoo.models.quantization").quantize_linear
        model = quantize_linear(model)
    if variant.compiled:
        # Earlier shapes would make this one's sizes symbolic, and slower.
        torch.compiler.reset()
        (model.backbone if hasattr(model, "prompt_head") else model).compile()
    return model


def forward_run(
    model: nn.Module, batch: Batch, setting: Setting, variant: Variant
) -> Callable[[], Tensor]:
    """A function that runs the model once, without gradients.

    Args:
        model: In evaluation mode.
        batch: Its inputs.
        setting: Says where the forward pass ends.
        variant: Says in which precision.

    Returns:
        It returns logits, or the image embedding, in float32.
    """

    def run() -> Tensor:
        with torch.inference_mode(), variant.autocast(setting.device):
            if setting.encoder_only:
                return model.encode(batch.images, num_frames=batch.clips.shape[1]).float()
            return model(batch.clips, batch.samples, mode="tensor").float()

    return run


def training_run(
    model: nn.Module, batch: Batch, setting: Setting, variant: Variant
) -> Callable[[], Tensor]:
    """A function that trains one step: forward, loss, backward, the config's optimiser.

    Args:
        model: In training mode.
        batch: Its inputs, the same in every step.
        setting: Its config names the optimiser.
        variant: Says in which precision.

    Returns:
        It returns the loss before the step.
    """
    optimiser = build_optim_wrapper(model, setting.cfg.optim_wrapper)

    def run() -> Tensor:
        with optimiser.optim_context(model), variant.autocast(setting.device):
            loss, _ = model.parse_losses(model(batch.clips, batch.samples, mode="loss"))
        optimiser.update_params(loss)
        return loss.detach()

    return run


def trainable(network: nn.Module) -> int:
    """How many numbers of a network train."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
