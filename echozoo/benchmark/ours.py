"""This project's side: one forward pass, one training step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from echozoo.apis.execution import check_execution, place
from echozoo.benchmark.inputs import Batch
from echozoo.benchmark.setting import Setting, Variant


def place_variant(model: nn.Module, variant: Variant, setting: Setting) -> None:
    """Bring a model to its device, and compile or quantise it, as the inference tools do.

    Args:
        model: The model, changed in place.
        variant: What is to be done.
        setting: Says where the model computes.

    Raises:
        ConfigError: What cannot be there, such as int8 on a GPU.
    """
    device = torch.device(setting.device)
    check_execution(device, variant.int8, variant.bf16, variant.compiled)
    if variant.compiled:
        # After eight shapes and models in one process torch would no longer compile.
        torch.compiler.reset()
    temporal = bool((setting.cfg.model.get("backbone") or {}).get("temporal"))
    place(model, device, variant.int8, variant.compiled, temporal)


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
        with torch.no_grad(), variant.autocast(setting.device):
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
