"""Recordings of related systems' published code: their weights, inputs and outputs."""

from __future__ import annotations

import gzip
import importlib.util
import json
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from echozoo.engine.config_file import load_config
from echozoo.engine.scales import apply_scale
from echozoo.registry import MODELS


class Recording:
    """What the published code of a system gave for weights that its key names determine.

    Attributes:
        arrays: Recorded outputs by name, and inputs that have no formula.
    """

    def __init__(self, shared: Path, system: str) -> None:
        folder = shared / "golden/related"
        self.system, self.inputs = system, _rule(folder)
        with np.load(folder / f"{system}.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays}

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """Published key to tensor, as in a published file."""
        filled = self.inputs.weights(self.system)
        return {key: torch.from_numpy(np.array(value)) for key, value in filled.items()}

    @property
    def keys(self) -> list[str]:
        """The published keys alone, which is quicker."""
        path = Path(self.inputs.__file__).with_name(f"{self.system}_keys.json.gz")
        return list(json.loads(gzip.decompress(path.read_bytes())))

    def wave(self, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self.inputs.wave(*shape))

    def noise(self, name: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self.inputs.noise(name, *shape))

    def filled(self, module: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
        """Weights of a module by the same rule, as if its keys were published with a prefix."""
        return {
            f"{prefix}{key}": torch.from_numpy(self.inputs.value(f"{prefix}{key}", value.shape))
            for key, value in module.state_dict().items()
        }

    def check(self, name: str, found: torch.Tensor) -> None:
        """Compare an output, already thinned out as the recording is: max difference / std."""
        wanted = torch.from_numpy(self.arrays[name])
        assert found.shape == wanted.shape, name
        error = (found - wanted).abs().max() / wanted.std()
        assert error < 1e-3, (name, error)


def build(config: str, scale: str | None = None, **changes) -> nn.Module:
    """The model of a config, in evaluation mode, without weights to start from."""
    init_default_scope("echozoo")
    cfg = load_config(f"configs/{config}.py") if scale else Config.fromfile(f"configs/{config}.py")
    if scale:
        apply_scale(cfg, scale)
    cfg.merge_from_dict({f"model.{key}": value for key, value in changes.items()})
    return MODELS.build(cfg.model).eval()


def counts(model: nn.Module) -> tuple[int, int]:
    """Parameters, and how many of them train."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


def _rule(folder: Path) -> ModuleType:
    path = folder / "deterministic_weights.py"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {folder.name}/: no recordings of related systems")
    spec = importlib.util.spec_from_file_location("related_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
