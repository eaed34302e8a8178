"""Which parameters reach the optimiser, and mixed precision that needs no loss scale."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from mmengine.device import get_device
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from echozoo.errors import ConfigError
from echozoo.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableParamsConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, except that frozen parameters never enter the optimiser.

    ``paramwise_cfg`` works as in mmengine. Without it all trainable parameters are one group;
    mmengine would put the frozen ones in as well, with their share of the optimiser's state.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser and its wrapper.

        Args:
            model: The network, or a wrapper that holds it as ``module``.

        Raises:
            ConfigError: Every parameter is frozen.
        """
        model = getattr(model, "module", model)
        trainable = [p for p in model.parameters() if p.requires_grad]
        if not trainable:
            raise ConfigError(
                f"{type(model).__name__}: all parameters are frozen, nothing is left to train; "
                "loosen `frozen` or name parts in `trainable` in the config's model"
            )
        if self.paramwise_cfg:
            return super().__call__(model)
        optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=trainable))
        wrapper = dict(self.optim_wrapper_cfg, optimizer=optimizer)
        wrapper.setdefault("type", "OptimWrapper")
        return OPTIM_WRAPPERS.build(wrapper)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16 where autocast deems it safe, on a CPU as on a GPU.

    bfloat16 has float32's range, so there is no loss scale; mmengine's AmpOptimWrapper, which
    brings one, asserts that there is a GPU.
    """

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast around the forward pass."""
        device = torch.device(get_device()).type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
