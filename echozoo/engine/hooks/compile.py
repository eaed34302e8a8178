"""Training with a compiled image encoder."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from echozoo.compilers import refuse_without_compiler
from echozoo.registry import HOOKS


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the backbone for the shape of the training's batches.

    Another shape, such as that of an epoch's last, smaller batch, is compiled when it first comes;
    then nothing is compiled again. Validation and test, where films have any length, run as ever.
    """

    def before_train(self, runner: Runner) -> None:
        """Compile, once the model trains.

        Raises:
            ConfigError: On the CPU, there is no C++ compiler.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        refuse_without_compiler(next(model.parameters()).device)
        backbone = model.backbone
        eager, compiled = backbone.forward, torch.compile(backbone.forward, dynamic=False)

        def forward(*args: object, **kwargs: object) -> object:
            return (compiled if backbone.training else eager)(*args, **kwargs)

        backbone.forward = forward
