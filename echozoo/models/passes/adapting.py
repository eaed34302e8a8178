"""Adapters: small trainable parts that go around layers of a finished model, said in its config.

An adapter is a module in `ADAPTERS` that is built as ``Adapter(layer, **settings)`` and takes the
place of ``layer``. It has

- the layer's own parameters under their names, so that a checkpoint of the model without
  adapters is one of the model with them;
- its own in submodules, which `adapter_names` lists;
- ``replaces``, the class of layers that it is for;
- ``merge()``, where it can be computed away: a layer of that class that does the same;
- ``published_at(name, index)``, where files call its own otherwise, see
  `echozoo.models.checkpoints`;
- ``shares``, where those of one config have weights in common: all but the first are built with
  ``first=`` that one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from echozoo.errors import ConfigError
from echozoo.models.passes.fast_cpu import plain_class
from echozoo.models.passes.patterns import modules_at, replace_module
from echozoo.registry import ADAPTERS


def add_adapters(model: nn.Module, adapters: Sequence[dict]) -> None:
    """Put adapters around layers of a model, in place.

    Args:
        model: The model.
        adapters: Configs, each with ``at``, a name pattern or several:
            ``dict(type="LoRA", rank=4, at="backbone.blocks.*.attn.qkv")``.

    Raises:
        ConfigError: A pattern matches nothing, or something that the adapter is not for.
    """
    for cfg in adapters:
        settings = dict(cfg)
        kind = settings.get("type")
        if not settings.get("at"):
            raise ConfigError(f"adapters: {kind} has no at=..., a name pattern of its layers")
        adapter = ADAPTERS.get(kind) if isinstance(kind, str) else kind
        if adapter is None:
            raise ConfigError(
                f"adapters: found type={kind!r}, wants one of {', '.join(ADAPTERS.module_dict)}"
            )
        first: dict = {}
        for name, layer in modules_at(model, settings.pop("at"), f"adapters: {kind}").items():
            # A subclass may be read past its forward, as torch's attention does.
            if plain_class(layer) is not adapter.replaces:
                raise ConfigError(
                    f"adapters: {kind} is for {adapter.replaces.__name__}, found {name}, a "
                    f"{plain_class(layer).__name__}; make at={cfg['at']!r} narrower"
                )
            built = ADAPTERS.build({**settings, **first, "layer": layer})
            first = {"first": first.get("first", built)} if hasattr(adapter, "shares") else {}
            replace_module(model, name, built)


def merge_adapters(model: nn.Module) -> nn.Module:
    """Compute away, in place, the adapters that can be, for export and inference.

    Returns:
        The same model, without adapters' parameters where all of them can be merged.
    """
    for name, module in list(model.named_modules()):
        if _is_adapter(module) and hasattr(module, "merge"):
            replace_module(model, name, module.merge())
    return model


def adapter_keys(model: nn.Module) -> dict[str, str]:
    """Name what in a model's state dict is its adapters' own, and the class of each adapter."""
    return {
        f"{name}.{part}.{key}": type(module).__name__
        for name, module in model.named_modules()
        if _is_adapter(module)
        for part in module.adapter_names()
        for key in module.get_submodule(part).state_dict()
    }


def _is_adapter(module: nn.Module) -> bool:
    return hasattr(module, "adapter_names")
