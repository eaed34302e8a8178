"""A test with quantised linear layers."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from echozoo.models.passes.int8 import quantize_linear
from echozoo.registry import HOOKS


@HOOKS.register_module()
class Int8Hook(Hook):
    """Quantise the image encoder's linear layers before a test, once its weights are loaded."""

    def before_test(self, runner: Runner) -> None:
        """Quantise.

        Raises:
            ConfigError: As `quantize_linear`.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        quantize_linear(model.eval())
